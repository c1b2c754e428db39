"""Official GPT-SoVITS files, read safely: what they hold, found from content alone.

File names, extensions and sizes are never looked at. PyTorch files go through
`engine/checkpoint_child.py`, a restricted reader in a process of its own; safetensors files and
transformers folders are read here. Nothing imports torch.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from engine import checkpoint_child
from engine.errors import CheckpointError
from engine.types import Array

# The tag upstream writes over the zip's "PK" (process_ckpt.py:63-80 @48b1a01).
VERSION_TAGS: dict[str, str] = {
    "00": "v1",
    "01": "v2",
    "02": "v3",
    "03": "v3 (LoRA)",
    "04": "v4 (LoRA)",
    "05": "v2Pro",
    "06": "v2ProPlus",
}
_ZIP_REST = b"\x03\x04"
_BASE_MEMORY_BYTES = 2 << 30  # numpy and its thread pools reserve address space
_MAX_FILE_BYTES = 8 << 30
_SHORTEST_TIMEOUT_S = 60


class FileKind(StrEnum):
    """What a file turned out to be."""

    GPT = "GPT (semantic tokens from text)"
    SOVITS = "SoVITS (audio from semantic tokens)"
    HUBERT = "HuBERT (features of reference audio)"
    BERT = "BERT (features of Chinese text)"
    SPEAKER = "ERes2NetV2 (speaker embedding)"


@dataclass(frozen=True, slots=True, eq=False)
class OfficialFile:
    """A checkpoint in its author's names: arrays and plain values, nothing executable.

    `tensors` keep their stored type (float16 mostly); bfloat16 became float32.
    """

    path: Path
    kind: FileKind
    tensors: Mapping[str, Array]
    config: dict[str, Any] | None = None
    info: str = ""
    version_tag: str | None = None  # one of VERSION_TAGS, when the header has it
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor."""
        return {name: tensor.shape for name, tensor in self.tensors.items()}


def read_official(path: Path | str, expected: FileKind | None = None) -> OfficialFile:
    """Read a GPT, SoVITS or speaker file, or a transformers folder (HuBERT, BERT).

    Args:
        expected: Refuse any other kind, with a message that names both.

    Raises:
        CheckpointError: Missing, damaged, hostile, foreign or unsupported file; nothing of it ran.
    """
    path = Path(path)
    if path.is_dir():
        found = _read_folder(path)
    elif path.is_file():
        found = _read_file(path)
    else:
        raise CheckpointError(f"{path}: no such file or folder")
    if expected is not None and found.kind is not expected:
        raise CheckpointError(f"{path} is {found.kind}, but {expected} is wanted here")
    return found


def _read_file(path: Path) -> OfficialFile:
    with path.open("rb") as file:
        head = file.read(64)
    tag = head[:2].decode("latin-1")
    if head[2:4] == _ZIP_REST and (tag == "PK" or tag in VERSION_TAGS):
        tensors, summary = _read_torch(path)
    elif _is_safetensors(head, path.stat().st_size):
        tensors, summary = _read_safetensors(path), {"layout": "state dict", "keys": []}
    else:
        raise CheckpointError(f"{path}: {_what_else(head)}")
    info = summary.get("info")
    config = summary.get("config")
    return OfficialFile(
        path=path,
        kind=_classify(path, tensors, summary),
        tensors=tensors,
        config=config if isinstance(config, dict) else None,
        info=info if isinstance(info, str) else "",
        version_tag=tag if tag in VERSION_TAGS else None,
    )


def _what_else(head: bytes) -> str:
    """Say what a file that is not a checkpoint looks like, and what to do."""
    if not head:
        return "the file is empty; download it again"
    if head.startswith(b"version https://git-lfs"):
        return "this is a Git LFS pointer, not the model; run `git lfs pull` or download the file"
    if head.lstrip()[:1] == b"<":
        return "this is a web page, not a model; the download link led to a page"
    if head.startswith(b"\x1f\x8b"):
        return "this is a gzip file; unpack it first (gunzip)"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return "a bare pickle or torch file from before torch 1.6; save it again with a newer torch"
    if re.match(rb"[0-9A-Za-z]{2}\x03\x04", head):
        valid = ", ".join(f"{tag} {name}" for tag, name in VERSION_TAGS.items())
        return f"its version tag {head[:2]!r} is unknown; known: {valid}"
    return "not a torch or safetensors file; the download may be damaged"


def _read_torch(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Have the child process turn `path` into safetensors and load that."""
    size = path.stat().st_size
    if size > _MAX_FILE_BYTES:
        raise CheckpointError(f"{path}: {size} bytes is more than any model of this family has")
    with tempfile.TemporaryDirectory(prefix="sovits-import-") as folder:
        target = Path(folder) / "tensors.safetensors"
        _run_child(path, target, size)
        tensors = _read_safetensors(target)
        with safe_open(target, framework="numpy") as file:
            summary: dict[str, Any] = json.loads(file.metadata()["summary"])
    return tensors, summary


def _run_child(source: Path, target: Path, size: int) -> None:
    """Run the reader; raise CheckpointError with what it says."""
    timeout_s = _SHORTEST_TIMEOUT_S + size // (10 << 20)  # 10 MB/s is slow for any disk
    memory_bytes = _BASE_MEMORY_BYTES + 6 * size
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
    script = checkpoint_child.__file__
    command = [sys.executable, "-P", script, str(source), str(target)]
    try:
        done = subprocess.run(
            [*command, str(memory_bytes), str(timeout_s)],
            env={**os.environ, **threads},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CheckpointError(f"{source}: not read within {timeout_s} s; given up") from None
    if done.returncode == checkpoint_child.REFUSED:
        raise CheckpointError(f"{source}: {json.loads(done.stdout)['error']}")
    if done.returncode != 0:
        detail = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise CheckpointError(
            f"{source}: its reader ended with status {done.returncode} "
            f"(limits: {memory_bytes >> 20} MiB, {timeout_s} s) {detail}"
        )


def _is_safetensors(head: bytes, size: int) -> bool:
    length = int.from_bytes(head[:8], "little")
    return len(head) > 8 and 2 <= length <= size - 8 and head[8:9] == b"{"


def _read_safetensors(path: Path) -> dict[str, Array]:
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: truncated or damaged safetensors file ({error})") from None
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise CheckpointError(f"{path}: tensor {name} has NaN or infinite values")
    return tensors


def _classify(path: Path, tensors: Mapping[str, Array], summary: Mapping[str, Any]) -> FileKind:
    """Tell the kind from tensor names."""
    if "model.ar_text_embedding.word_embeddings.weight" in tensors:
        return FileKind.GPT
    if any(name.startswith("cfm.") for name in tensors) or summary.get("lora_rank"):
        raise CheckpointError(
            f"{path}: a v3/v4 SoVITS model (flow matching); v1, v2, v2Pro and v2ProPlus are "
            "supported. Retrain the voice as v2ProPlus"
        )
    if "enc_p.text_embedding.weight" in tensors:
        return FileKind.SOVITS
    if {"layer1.0.conv1.weight", "conv1.weight"} <= tensors.keys():
        return FileKind.SPEAKER
    keys = list(summary["keys"]) or list(tensors)[:5]
    listing = ", ".join(keys[:8])
    if "optimizer" in keys or "optimizer_states" in keys:
        raise CheckpointError(
            f"{path}: a training state ({listing}), not a model; use the file that training "
            "writes to GPT_weights*/ or SoVITS_weights*/"
        )
    raise CheckpointError(f"{path}: no model of this family; it holds {listing or 'no tensor'}")


def _read_folder(path: Path) -> OfficialFile:
    """Read a transformers folder: config.json and model.safetensors or pytorch_model.bin."""
    config_path = path / "config.json"
    try:
        config = json.loads(config_path.read_text(encoding="utf-8"))
        model_type = str(config["model_type"])
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no config.json; a transformers folder is wanted") from None
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{config_path}: not a transformers config ({error!r})") from None
    kinds = {"hubert": FileKind.HUBERT, "bert": FileKind.BERT}
    if model_type not in kinds:
        raise CheckpointError(f"{config_path}: model_type is {model_type!r}, valid: hubert, bert")
    if (path / "model.safetensors").is_file():
        tensors = _read_safetensors(path / "model.safetensors")
    elif (path / "pytorch_model.bin").is_file():
        tensors, _ = _read_torch(path / "pytorch_model.bin")
    else:
        raise CheckpointError(f"{path}: neither model.safetensors nor pytorch_model.bin is there")
    if not tensors:
        raise CheckpointError(f"{path}: its weights file holds no tensor")
    extra = {"vocab": _read_vocab(path)} if kinds[model_type] is FileKind.BERT else {}
    return OfficialFile(path, kinds[model_type], tensors, config, extra=extra)


def _read_vocab(path: Path) -> list[str] | None:
    """Return BERT's tokens in order of id, from vocab.txt or tokenizer.json; None without both."""
    plain, fast = path / "vocab.txt", path / "tokenizer.json"
    if plain.is_file():
        return plain.read_text(encoding="utf-8").rstrip("\n").split("\n")
    if not fast.is_file():
        return None
    try:
        ids: dict[str, int] = json.loads(fast.read_text(encoding="utf-8"))["model"]["vocab"]
        if sorted(ids.values()) != list(range(len(ids))):
            raise ValueError("its ids have gaps")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{fast}: no usable vocabulary ({error!r})") from None
    return sorted(ids, key=lambda token: ids[token])
