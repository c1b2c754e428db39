"""Writes a pack's weights as the files of the public GPT-SoVITS: a .ckpt (GPT) and a .pth (SoVITS).

What that program reads and writes is a dictionary `weight`, `config`, `info` in torch's container.
Weights are float16, as it stores them, where that loses nothing, else float32. The config is of
plain dictionaries: it is read by key only, and a file without classes can be opened safely. Pro
models carry their version in place of the container's first two bytes.

Source: process_ckpt.py, TTS_infer_pack/TTS.py, s1_train.py @48b1a01.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.errors import CheckpointError
from engine.models import official_acoustic, official_t2s
from engine.pack import Pack, Part
from engine.types import Array

FAMILIES = ("v1", "v2", "v2Pro", "v2ProPlus")
_TAGS = {"v2Pro": b"05", "v2ProPlus": b"06"}
# Nothing of these is in the tensors and nothing of ours depends on them; the reader wants the keys.
_SEGMENT_SAMPLES = 20480
_MODEL_EXTRAS = {"p_dropout": 0.0, "n_layers_q": 3, "use_spectral_norm": False}


@dataclass(frozen=True, slots=True)
class OfficialPair:
    """The two files."""

    gpt: Path
    sovits: Path


def write_official(pack: Pack, folder: Path, *, replace: bool = False) -> OfficialPair:
    """Write `NAME.ckpt` and `NAME.pth` into `folder`.

    Raises:
        CheckpointError: The public program has no such network, or a file is there already.
    """
    if pack.family not in FAMILIES:
        raise CheckpointError(
            f"pack {pack.name} is of the family {pack.family}, which GPT-SoVITS has no network "
            f"for; valid: {', '.join(FAMILIES)}"
        )
    pair = OfficialPair(folder / f"{pack.name}.ckpt", folder / f"{pack.name}.pth")
    for path in (pair.gpt, pair.sovits):
        if path.exists() and not replace:
            raise CheckpointError(f"{path} is there already; add --replace to write it anew")
    if "pretrained" in str(pair.sovits):
        # It takes a path with this word for a base model and expects its training-only part.
        raise CheckpointError(
            f"{pair.sovits}: GPT-SoVITS treats paths with 'pretrained' in them as base models; "
            "choose another folder or name"
        )
    folder.mkdir(parents=True, exist_ok=True)
    _write(pair.gpt, _gpt(pack))
    _write(pair.sovits, _sovits(pack), _TAGS.get(pack.family))
    return pair


def _gpt(pack: Pack) -> dict[str, Any]:
    config = pack.config.t2s
    weights = official_t2s.weights_to_official(pack.tensors(Part.T2S), config)
    return {
        "weight": _tensors(weights),
        "config": official_t2s.config_to_official(config),
        "info": f"GPT-{pack.name}",
    }


def _sovits(pack: Pack) -> dict[str, Any]:
    config = pack.config.acoustic
    weights = official_acoustic.weights_to_official(pack.tensors(Part.ACOUSTIC), config)
    settings = official_acoustic.config_to_official(config, pack.family)
    settings["model"] |= _MODEL_EXTRAS
    settings["train"] = {"segment_size": _SEGMENT_SAMPLES}
    return {"weight": _tensors(weights), "config": settings, "info": pack.name}


def _tensors(weights: Mapping[str, Array]) -> OrderedDict[str, Tensor]:
    return OrderedDict((name, torch.from_numpy(_stored(value))) for name, value in weights.items())


def _stored(value: Array) -> Array:
    if value.dtype.kind != "f":
        return value
    with np.errstate(over="ignore"):
        half = value.astype(np.float16)
    return half if np.array_equal(half.astype(value.dtype), value) else value


def _write(path: Path, content: Mapping[str, Any], tag: bytes | None = None) -> None:
    """Write whole or not at all."""
    buffer = io.BytesIO()
    torch.save(dict(content), buffer)
    data = buffer.getvalue()
    temporary = path.with_name(path.name + ".part")
    temporary.write_bytes((tag + data[len(tag) :]) if tag else data)
    temporary.replace(path)
