"""Make a model pack of what the stages trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from engine.model_config import (
    AcousticConfig,
    ModelConfig,
    SpeakerConfig,
    SslConfig,
    T2SConfig,
)
from engine.pack import Pack, PackInfo, Part, write_pack
from engine.tensor_file import TensorFile, to_blocks
from engine.types import Array, Sampling

# A sentence uses a good part of nano's tokens. Upstream's penalty of 1.35 then leaves the end of
# the sentence as the likeliest token long before its text. Fewer choices keep it to the text.
NANO_SAMPLING = Sampling(top_k=5, temperature=0.6, repetition_penalty=1.0)
_HEARD = ("decoder.", "quantizer.codebook", "quantizer.project")


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """Configs and weights of every part."""

    acoustic: AcousticConfig
    acoustic_weights: Mapping[str, Tensor]
    t2s: T2SConfig
    t2s_weights: Mapping[str, Tensor]
    ssl: SslConfig
    ssl_weights: Mapping[str, Array]
    speaker: SpeakerConfig | None
    speaker_weights: Mapping[str, Array]


def assemble(path: Path, info: PackInfo, trained: Trained) -> Pack:
    """Write the pack: large matrices as 8-bit blocks where that costs nothing, else float16.

    The decoder stays float16: its errors would be heard. Those of the encoders, the flow and the
    T2S are far below what quantising and sampling do anyway.
    """
    acoustic = {
        name: value
        for name, value in _numpy(trained.acoustic_weights).items()
        if not name.startswith("posterior.")
    }
    heard = {n: v for n, v in acoustic.items() if n.startswith(_HEARD)}
    unheard = {n: v for n, v in acoustic.items() if n not in heard}
    parts: dict[Part, dict[str, Array]] = {
        Part.ACOUSTIC: _half(heard) | to_blocks(unheard),
        Part.T2S: to_blocks(_numpy(trained.t2s_weights)),
        Part.SSL: to_blocks(trained.ssl_weights),
    }
    if trained.speaker is not None:
        parts[Part.SPEAKER] = to_blocks(trained.speaker_weights)
    config = ModelConfig(
        family="nano",
        t2s=trained.t2s,
        acoustic=trained.acoustic,
        ssl=trained.ssl,
        speaker=trained.speaker,
    )
    return write_pack(path, info, config, parts)


def retuned(base: Pack, path: Path, weights: Mapping[Part, Mapping[str, Tensor]]) -> Pack:
    """Write a pack like `base` with other weights in some parts, each tensor stored as it was.

    What only training needs (the posterior encoder) is left out.
    """
    parts: dict[Part, Mapping[str, Array]] = {}
    for part in Part:
        if base.has(part):
            file = TensorFile(base.path / f"{part}.safetensors")
            new = _numpy(weights[part]) if part in weights else base.tensors(part)
            kept = {name: new[name] for name in file.names()}
            blocks = {n: v for n, v in kept.items() if file.is_in_blocks(n)}
            rest = {n: v for n, v in kept.items() if n not in blocks}
            parts[part] = to_blocks(blocks) | _half(rest)
    vocab = base.vocab() if base.has(Part.BERT) else None
    info = replace(base.info, name=path.name)
    return write_pack(path, info, base.config, parts, vocab=vocab, replace=True)


def _numpy(weights: Mapping[str, Tensor]) -> dict[str, Array]:
    return {
        name: (value.detach().float() if value.is_floating_point() else value).numpy()
        for name, value in weights.items()
    }


def _half(weights: Mapping[str, Array]) -> dict[str, Array]:
    return {
        name: value.astype(np.float16) if value.dtype.kind == "f" else value
        for name, value in weights.items()
    }
