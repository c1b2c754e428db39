"""Official SoVITS files (`weight` names, `config` values) and our acoustic network, both ways.

Tensors are the same on both sides, only names differ, so a checkpoint that is imported and
exported again is equal to the bit. Sizes come from the shapes; the stored config gives what
shapes cannot tell and is checked against them. Works on arrays of any library, imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

from engine.errors import CheckpointError
from engine.model_config import AcousticConfig, HifiGanConfig, SymbolSet
from engine.models.official_acoustic_names import entries

# Upstream keeps these out of both shapes and config: mrte_model.py:17, modules.py:681 @48b1a01.
MRTE_HEADS = 4
STYLE_HEADS = 2
SYMBOL_SETS: Mapping[int, SymbolSet] = {322: "v1", 732: "v2"}

_CODEBOOK = "quantizer.vq.layers.0._codebook.embed"
_TEXT_ENCODER = "enc_p.encoder_text"


class Shaped(Protocol):
    """An array or tensor."""

    @property
    def shape(self) -> Sequence[int]:
        """Its sizes."""
        ...


ArrayLike = TypeVar("ArrayLike", bound=Shaped)


def config_from_official(
    tensors: Mapping[str, Shaped], config: Mapping[str, Any] | None
) -> AcousticConfig:
    """Return the numbers of an official SoVITS file of v1, v2, v2Pro or v2ProPlus.

    Args:
        tensors: Its `weight`, in official names.
        config: Its `config` as plain dictionaries (`data`, `model`); None takes upstream's values
            for what shapes cannot tell (sample rate, hop, upsampling rates, dilations).

    Raises:
        CheckpointError: A tensor is missing, the model is of another kind, or `config`
            contradicts the shapes.
    """
    size = _Sizes(tensors)
    data, model = ((config or {}).get(key) or {} for key in ("data", "model"))
    num_phonemes = size("enc_p.text_embedding.weight", 0)
    if num_phonemes not in SYMBOL_SETS:
        valid = ", ".join(f"{count} ({name})" for count, name in SYMBOL_SETS.items())
        raise CheckpointError(f"the SoVITS file has {num_phonemes} phoneme symbols, valid: {valid}")
    hidden = size("enc_p.proj.weight", 1)
    has_posterior = "enc_q.pre.weight" in tensors
    hop = int(data.get("hop_length", 640))
    found = AcousticConfig(
        sample_rate_hz=int(data.get("sampling_rate", 32000)),
        n_fft=int(data.get("filter_length", 2048)),
        hop=hop,
        ssl_dim=size("ssl_proj.weight", 1),
        ssl_stride=size("ssl_proj.weight", 2),
        codebook_size=size(_CODEBOOK, 0),
        codebook_dim=size(_CODEBOOK, 1),
        symbol_set=SYMBOL_SETS[num_phonemes],
        num_phonemes=num_phonemes,
        latent_dim=size("enc_p.proj.weight", 0) // 2,
        hidden_dim=hidden,
        filter_dim=size(f"{_TEXT_ENCODER}.ffn_layers.0.conv_1.weight", 0),
        num_heads=hidden // size(f"{_TEXT_ENCODER}.attn_layers.0.emb_rel_k", 2),
        ssl_layers=size.count("enc_p.encoder_ssl.attn_layers.{}.conv_q.weight"),
        text_layers=size.count(_TEXT_ENCODER + ".attn_layers.{}.conv_q.weight"),
        fusion_layers=size.count("enc_p.encoder2.attn_layers.{}.conv_q.weight"),
        kernel=size(f"{_TEXT_ENCODER}.ffn_layers.0.conv_1.weight", 2),
        window=size(f"{_TEXT_ENCODER}.attn_layers.0.emb_rel_k", 1) // 2,
        mrte_dim=size("enc_p.mrte.c_pre.weight", 0),
        mrte_heads=MRTE_HEADS,
        gin_dim=size("ref_enc.fc.fc.weight", 0),
        style_bins=size("ref_enc.spectral.0.fc.weight", 1),
        style_hidden=size("ref_enc.spectral.0.fc.weight", 0),
        style_heads=STYLE_HEADS,
        style_kernel=size("ref_enc.temporal.0.conv1.conv.weight", 2),
        speaker_dim=size("sv_emb.weight", 1) if "sv_emb.weight" in tensors else 0,
        # Couplings alternate with flips, which have a number but no tensors.
        flow_couplings=size.count("flow.flows.{}.pre.weight", step=2),
        flow_layers=size.count("flow.flows.0.enc.in_layers.{}.bias"),
        flow_kernel=size("flow.flows.0.enc.in_layers.0.weight_v", 2),
        posterior_layers=size.count("enc_q.enc.in_layers.{}.bias") if has_posterior else 16,
        posterior_kernel=size("enc_q.enc.in_layers.0.weight_v", 2) if has_posterior else 5,
        decoder=_decoder_config(size, model, hop),
    )
    _check_stored(model, found)
    return found


class _Sizes:
    """Shapes by name, with an error that says which tensor is missing."""

    def __init__(self, tensors: Mapping[str, Shaped]) -> None:
        self._tensors = tensors

    def __call__(self, name: str, axis: int) -> int:
        if name not in self._tensors or len(self._tensors[name].shape) <= axis:
            raise CheckpointError(
                f"the SoVITS file has no usable tensor {name}; it is damaged, or not a model of "
                "v1, v2, v2Pro or v2ProPlus"
            )
        return int(self._tensors[name].shape[axis])

    def count(self, pattern: str, step: int = 1) -> int:
        """Return how many of the pattern's numbers 0, step, 2 * step... exist, at least one."""
        number = 0
        while pattern.format(number * step) in self._tensors:
            number += 1
        if number == 0:
            self(pattern.format(0), 0)
        return number

    def __contains__(self, name: str) -> bool:
        return name in self._tensors


def _decoder_config(size: _Sizes, model: Mapping[str, Any], hop: int) -> HifiGanConfig:
    default = HifiGanConfig()
    if "dec.resblocks.0.convs.0.weight_v" in size:
        raise CheckpointError("the SoVITS file's decoder has residual blocks of type 2, valid: 1")
    num_stages = size.count("dec.ups.{}.weight_v")
    num_blocks, odd = divmod(size.count("dec.resblocks.{}.convs1.0.weight_v"), num_stages)
    rates = tuple(int(rate) for rate in model.get("upsample_rates", default.upsample_rates))
    kernels = tuple(size(f"dec.ups.{i}.weight_v", 2) for i in range(num_stages))
    dilations = tuple(
        tuple(int(dilation) for dilation in row)
        for row in model.get("resblock_dilation_sizes", default.resblock_dilations)
    )
    pairs_differ = any((kernel - rate) % 2 for kernel, rate in zip(kernels, rates, strict=False))
    if len(rates) != num_stages or math.prod(rates) != hop or pairs_differ:
        raise CheckpointError(
            f"the SoVITS file's upsample_rates are {list(rates)}; its tensors have {num_stages} "
            f"stages with kernels {list(kernels)}, and the rates must multiply to {hop}"
        )
    if odd or len(dilations) != num_blocks:
        raise CheckpointError(
            f"the SoVITS file's resblock_dilation_sizes are {[list(row) for row in dilations]}, "
            f"its tensors have {num_blocks} residual blocks per stage"
        )
    return HifiGanConfig(
        initial_channels=size("dec.conv_pre.weight", 0),
        upsample_rates=rates,
        upsample_kernels=kernels,
        resblock_kernels=tuple(
            size(f"dec.resblocks.{i}.convs1.0.weight_v", 2) for i in range(num_blocks)
        ),
        resblock_dilations=dilations,
    )


def _check_stored(model: Mapping[str, Any], found: AcousticConfig) -> None:
    """Compare what the stored config says with what the tensors say."""
    expected = _model_settings(found)
    for key, value in expected.items():
        stored = model.get(key, value)
        if isinstance(stored, list | tuple):
            stored = [list(row) if isinstance(row, list | tuple) else row for row in stored]
        if stored != value:
            raise CheckpointError(
                f"the SoVITS file's config.model.{key} is {stored!r:.120}, its tensors say {value}"
            )


def _model_settings(config: AcousticConfig) -> dict[str, Any]:
    assert isinstance(config.decoder, HifiGanConfig), "upstream has no other decoder"
    decoder = config.decoder
    return {
        "inter_channels": config.latent_dim,
        "hidden_channels": config.hidden_dim,
        "filter_channels": config.filter_dim,
        "n_heads": config.num_heads,
        "n_layers": config.text_layers,
        "kernel_size": config.kernel,
        "resblock": "1",
        "resblock_kernel_sizes": list(decoder.resblock_kernels),
        "resblock_dilation_sizes": [list(row) for row in decoder.resblock_dilations],
        "upsample_rates": list(decoder.upsample_rates),
        "upsample_initial_channel": decoder.initial_channels,
        "upsample_kernel_sizes": list(decoder.upsample_kernels),
        "gin_channels": config.gin_dim,
        "semantic_frame_rate": {1: "50hz", 2: "25hz"}.get(config.ssl_stride),
    }


def config_to_official(config: AcousticConfig, version: str) -> dict[str, Any]:
    """Return the `config` that upstream reads back from a SoVITS file.

    Args:
        version: v1, v2, v2Pro or v2ProPlus.
    """
    return {
        "model": _model_settings(config) | {"freeze_quantizer": True, "version": version},
        "data": {
            "sampling_rate": config.sample_rate_hz,
            "filter_length": config.n_fft,
            "hop_length": config.hop,
            "win_length": config.n_fft,
            "n_speakers": 300,
        },
        "version": version,
    }


def weight_shapes(
    config: AcousticConfig, *, with_posterior: bool = False
) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor of an official-family network, by our names."""
    return {entry.ours: entry.shape for entry in entries(config, with_posterior=with_posterior)}


def weights_from_official(
    tensors: Mapping[str, ArrayLike], config: AcousticConfig
) -> dict[str, ArrayLike]:
    """Return the tensors under our names, untouched, in the type they are stored in.

    The posterior encoder is included when the file has one (pretrained files do, those that a
    user's training exports do not).

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape than `config` says.
    """
    with_posterior = any(name.startswith("enc_q.") for name in tensors)
    known = entries(config, with_posterior=with_posterior)
    official = {entry.official for entry in known}
    for problem, names in (
        ("lacks", official - tensors.keys()),
        ("has unknown", tensors.keys() - official),
    ):
        if names:
            shown = ", ".join(sorted(names)[:5])
            raise CheckpointError(f"the SoVITS file {problem} tensors ({len(names)}): {shown}")
    for entry in known:
        shape = tuple(tensors[entry.official].shape)
        if shape != entry.shape:
            raise CheckpointError(
                f"the SoVITS file's {entry.official} has shape {list(shape)}, "
                f"expected {list(entry.shape)}"
            )
    return {entry.ours: tensors[entry.official] for entry in known}


def weights_to_official(
    weights: Mapping[str, ArrayLike], config: AcousticConfig
) -> dict[str, ArrayLike]:
    """Return tensors in our names under the official ones, untouched.

    Weight norm must still be split, as it is in a pack and during training.
    """
    with_posterior = any(name.startswith("posterior.") for name in weights)
    known = entries(config, with_posterior=with_posterior)
    return {entry.official: weights[entry.ours] for entry in known}
