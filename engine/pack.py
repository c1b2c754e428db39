"""Model packs: the only form in which weights reach serving.

A pack is a folder:

    pack.json                 name, every model number, languages, licences, notice, file hashes
    t2s.safetensors           } float16 or float32; float32 when loaded
    acoustic.safetensors      }
    ssl.safetensors, speaker.safetensors, bert.safetensors      where the model has them
    vocab.txt                 tokens of the BERT, one per line (characters, for Chinese)
    onnx/                     exported graphs, each folder with its own manifest
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from engine.errors import CheckpointError, InvalidParameter
from engine.manifest import MANIFEST as GRAPHS_MANIFEST
from engine.manifest import hash_file
from engine.model_config import ModelConfig, SymbolSet
from engine.tensor_file import TensorFile
from engine.types import Array, Language, Sampling

FORMAT = 1
MANIFEST = "pack.json"
VOCAB = "vocab.txt"
RANDOM_NOTICE = "random weights, no speech"
FILE_MODE = 0o644  # safetensors writes 0600, and a server may run as another user
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Part(StrEnum):
    """A network of a pack, and the stem of its file."""

    T2S = "t2s"
    ACOUSTIC = "acoustic"
    SSL = "ssl"
    SPEAKER = "speaker"
    BERT = "bert"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What `pack.json` says of a file."""

    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class PackInfo:
    """What a pack says of itself beside its numbers.

    Attributes:
        notice: Shown by `ready`, `/readyz` and the log, such as RANDOM_NOTICE; "" = nothing.
        licences: One line per part: what it is, from where, under which licence.
        sources: Name and sha256 of the files it was made from, by part.
        sampling: For requests that do not say; packs without the key have upstream's.
        prompts: Voices get a prompt where what is said in the reference is known. A small model
            may speak better without: it then follows the text and takes the timbre only.
        lead_in: Tokens of silence that stand before a sentence without a prompt, as if they had
            been said. A T2S that learnt from recordings says such first; read instead, they cost
            no decode steps before the first sound.
    """

    name: str
    languages: tuple[Language, ...]
    notice: str = ""
    licences: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    sampling: Sampling = field(default_factory=Sampling)
    prompts: bool = True
    lead_in: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Pack:
    """An opened pack; weights are read when asked for.

    Attributes:
        fingerprint: sha256 over the model numbers and the hashes of all weights; names and notices
            do not enter, so a renamed or copied pack keeps its voices.
    """

    path: Path
    info: PackInfo
    config: ModelConfig
    files: Mapping[str, FileRecord]
    fingerprint: str

    @property
    def name(self) -> str:
        """The pack's name."""
        return self.info.name

    @property
    def family(self) -> str:
        """The version family: v1, v2, v2Pro, v2ProPlus or nano."""
        return self.config.family

    @property
    def notice(self) -> str:
        """What users must be told, or ""."""
        return self.info.notice

    @property
    def sampling(self) -> Sampling:
        """How its tokens are drawn where a request does not say."""
        return self.info.sampling

    @property
    def symbol_set(self) -> SymbolSet:
        """The phoneme inventory."""
        return self.config.acoustic.symbol_set

    @property
    def sample_rate_hz(self) -> int:
        """Rate of the audio it makes."""
        return self.config.acoustic.sample_rate_hz

    @property
    def languages(self) -> tuple[Language, ...]:
        """The languages it was trained for."""
        return self.info.languages

    @property
    def num_bytes(self) -> int:
        """Size of the files named in its manifest."""
        return sum(record.num_bytes for record in self.files.values())

    @property
    def graphs_dir(self) -> Path:
        """Where its exported graphs are, if there are any."""
        return self.path / "onnx"

    @property
    def has_graphs(self) -> bool:
        """True if its graphs were exported."""
        return (self.graphs_dir / GRAPHS_MANIFEST).is_file()

    def has(self, part: Part | str) -> bool:
        """Tell whether the pack holds `part`."""
        return f"{Part(part)}.safetensors" in self.files

    def tensors(self, part: Part | str) -> dict[str, Array]:
        """Load the weights of a network; floating-point arrays come as float32.

        Raises:
            CheckpointError: The part is not in this pack, or its file is damaged.
        """
        file_name = f"{Part(part)}.safetensors"
        if file_name not in self.files:
            held = ", ".join(p for p in Part if self.has(p))
            raise CheckpointError(f"pack {self.name} has no {Part(part)} network; it has: {held}")
        return read_tensors(self.path / file_name)

    def vocab(self) -> list[str]:
        """Return the BERT's tokens in order of id.

        Raises:
            CheckpointError: The pack has none.
        """
        if VOCAB not in self.files:
            raise CheckpointError(f"pack {self.name} has no {VOCAB}: it was made without a BERT")
        text = (self.path / VOCAB).read_text(encoding="utf-8")
        return text.removesuffix("\n").split("\n")

    def verify(self) -> None:
        """Read every file and compare its sha256 (`load_pack` compares sizes only).

        Raises:
            CheckpointError: Names the first file that differs.
        """
        for name, record in self.files.items():
            if hash_file(self.path / name) != record.sha256:
                raise CheckpointError(
                    f"{self.path / name}: its contents changed since the pack was made; "
                    "import the model again"
                )


def load_pack(path: Path | str) -> Pack:
    """Open a pack folder, checking its manifest and the presence and size of every file.

    Raises:
        CheckpointError: Not a pack, of a newer format, or incomplete.
    """
    path = Path(path)
    try:
        data = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: not a model pack, it has no {MANIFEST}; make one with "
            "`sovits-live model import`"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path / MANIFEST}: cannot be read ({error})") from None
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        found = data.get("format") if isinstance(data, dict) else None
        raise CheckpointError(
            f"{path / MANIFEST}: format {found!r}, this program reads {FORMAT}; import the model "
            "again with this version"
        )
    try:
        pack = _parse(path, data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path / MANIFEST}: malformed ({error!r})") from None
    _check_files(pack)
    return pack


def _parse(path: Path, data: Mapping[str, Any]) -> Pack:
    files = {
        str(name): FileRecord(str(entry["sha256"]), int(entry["bytes"]))
        for name, entry in data["files"].items()
    }
    config = ModelConfig.from_json(data["model"])
    info = PackInfo(
        name=str(data["name"]),
        languages=tuple(Language(code) for code in data["languages"]),
        notice=str(data["notice"]),
        licences=tuple(map(str, data["licences"])),
        sources={str(k): str(v) for k, v in data["sources"].items()},
        sampling=_sampling(path, data.get("sampling", {})),
        prompts=bool(data.get("prompts", True)),
        lead_in=tuple(map(int, data.get("lead_in", ()))),
    )
    return Pack(path, info, config, files, fingerprint_of(data["model"], files))


def _sampling(path: Path, data: Mapping[str, Any]) -> Sampling:
    known = {field.name for field in fields(Sampling)}
    try:
        # A name that a later version adds is not an error here.
        return Sampling(**{name: value for name, value in data.items() if name in known})
    except InvalidParameter as error:
        raise CheckpointError(f"{path / MANIFEST}: sampling.{error}") from None


def _check_files(pack: Pack) -> None:
    for part in (Part.T2S, Part.ACOUSTIC):
        if not pack.has(part):
            raise CheckpointError(f"{pack.path}: the manifest names no {part} network")
    for name, record in pack.files.items():
        relative = Path(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise CheckpointError(f"{pack.path}: the manifest names a file outside: {name!r}")
        try:
            num_bytes = (pack.path / relative).stat().st_size
        except OSError:
            raise CheckpointError(f"{pack.path}: {name} is missing; copy the pack again") from None
        if num_bytes != record.num_bytes:
            raise CheckpointError(
                f"{pack.path / name}: {num_bytes} bytes instead of {record.num_bytes}; the copy "
                "was cut short or the file was replaced"
            )


def fingerprint_of(model: Mapping[str, Any], files: Mapping[str, FileRecord]) -> str:
    """Return the identity of a model: its numbers, as the pack has them, and its weights.

    Not the parsed numbers: a field that a later version adds must not orphan voices and graphs.
    """
    weights = {n: r.sha256 for n, r in sorted(files.items()) if n.endswith(".safetensors")}
    text = json.dumps([model, weights], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_pack(
    path: Path | str,
    info: PackInfo,
    config: ModelConfig,
    parts: Mapping[Part, Mapping[str, Array]],
    *,
    vocab: Sequence[str] | None = None,
    replace: bool = False,
) -> Pack:
    """Write a pack folder; it appears complete or not at all.

    Args:
        path: The folder to make; its parents are made too.
        parts: Weights in our names, float16 or float32 (stored as given) or integers.
        vocab: Tokens of the BERT in order of id.
        replace: Replace an existing pack of that path.

    Raises:
        InvalidParameter: On a bad name.
        CheckpointError: `path` exists and `replace` is off.
    """
    path = Path(path)
    if not NAME.fullmatch(info.name):
        raise InvalidParameter("name", info.name, "letters, digits, '.', '_', '-', 64 at most")
    if path.exists() and not (replace and (path / MANIFEST).is_file()):
        raise CheckpointError(
            f"{path} exists; choose another name, or replace it with --replace"
            if (path / MANIFEST).is_file()
            else f"{path} exists and is not a model pack; choose another name"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        staging.chmod(0o755)
        _write_files(staging, info, config, parts, vocab)
        move_in_place(staging, path)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return load_pack(path)


def _write_files(
    folder: Path,
    info: PackInfo,
    config: ModelConfig,
    parts: Mapping[Part, Mapping[str, Array]],
    vocab: Sequence[str] | None,
) -> None:
    for part, tensors in parts.items():
        file = folder / f"{part}.safetensors"
        arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        # Zero-dimensional arrays lose their shape in ascontiguousarray.
        arrays = {name: array.reshape(tensors[name].shape) for name, array in arrays.items()}
        save_file(arrays, file)
        file.chmod(FILE_MODE)
    if vocab is not None:
        (folder / VOCAB).write_text("\n".join(vocab) + "\n", encoding="utf-8")
    files = {
        file.name: {"sha256": hash_file(file), "bytes": file.stat().st_size}
        for file in sorted(folder.iterdir())
    }
    manifest = {
        "format": FORMAT,
        "name": info.name,
        "family": config.family,
        "sample_rate_hz": config.acoustic.sample_rate_hz,
        "symbol_set": config.acoustic.symbol_set,
        "languages": list(info.languages),
        "notice": info.notice,
        "licences": list(info.licences),
        "sources": dict(info.sources),
        "sampling": asdict(info.sampling),
        "prompts": info.prompts,
        "lead_in": list(info.lead_in),
        "files": files,
        "model": config.to_json(),
    }
    text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def move_in_place(staging: Path, path: Path) -> None:
    """Rename folder `staging` to `path`, moving what is there out of the way first."""
    if not path.exists():
        staging.rename(path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}-old-", dir=path.parent))
    path.rename(old / path.name)
    try:
        staging.rename(path)
    except OSError:
        (old / path.name).rename(path)
        raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


def read_tensors(path: Path) -> dict[str, Array]:
    """Load a safetensors file, floating-point arrays as float32.

    Raises:
        CheckpointError: Missing or damaged file.
    """
    file = TensorFile(path)
    return {name: file.tensor(name) for name in file.names()}
