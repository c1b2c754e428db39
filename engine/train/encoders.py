"""The frozen encoders a new model is built on: Whisper for tokens, GE2E for speakers."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from engine.errors import CheckpointError
from engine.model_config import SslConfig
from engine.models.official_reference import whisper_from_ctranslate2
from engine.types import Array

_CT2_FORMAT = 6
_TYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}


def read_ctranslate2(path: Path) -> dict[str, Array]:
    """Return the variables of a CTranslate2 `model.bin`.

    Raises:
        CheckpointError: Not such a file, or one of another format.
    """
    data = path.read_bytes()
    position = 0

    def take(code: str) -> int:
        nonlocal position
        (value,) = struct.unpack_from("<" + code, data, position)
        position += struct.calcsize("<" + code)
        return int(value)

    def name() -> str:
        nonlocal position
        length = take("H")
        text = data[position : position + length - 1].decode()
        position += length
        return text

    try:
        if take("I") != _CT2_FORMAT:
            raise CheckpointError(f"{path}: not a CTranslate2 model of format {_CT2_FORMAT}")
        name()
        take("I")
        variables = {}
        for _ in range(take("I")):
            key = name()
            shape = [take("I") for _ in range(take("B"))]
            kind = np.dtype(_TYPES[take("B")])
            size = take("I")
            variables[key] = np.frombuffer(data, kind, size // kind.itemsize, position).reshape(
                shape
            )
            position += size
    except (struct.error, KeyError, ValueError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not a CTranslate2 model ({error})") from None
    return variables


def whisper_encoder(path: Path, num_layers: int) -> tuple[SslConfig, dict[str, Array]]:
    """Return the first layers of the Whisper encoder in a CTranslate2 model.

    The upper layers of Whisper give up melody for words. Phoneme accuracy of a linear probe per
    20 ms frame and R^2 of relative log F0, on 30 corpus utterances: layer 3 0.63 / 0.83, layer 4
    0.70 / 0.74, layer 5 0.71 / 0.68, layer 6 0.68 / 0.62. The last norm is kept without its gain
    and bias, which belong to layer 6.
    """
    config, weights = whisper_from_ctranslate2(read_ctranslate2(path))
    kept = {
        key: value
        for key, value in weights.items()
        if not key.startswith("layers.") or int(key.split(".")[1]) < num_layers
    }
    kept["norm.weight"] = np.ones_like(kept["norm.weight"])
    kept["norm.bias"] = np.zeros_like(kept["norm.bias"])
    settings = {**config.settings, "num_layers": num_layers}
    return SslConfig(config.kind, config.dim, config.tail_zeros, settings), kept
