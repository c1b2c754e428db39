"""Between the public implementation's SoVITS checkpoints and our acoustic network.

Tensors are the same on both sides, only names differ, so a checkpoint that is imported and
exported again is equal to the bit. Sizes come from the tensors' shapes, and from the stored
config where a shape does not show them.

Source: parameter names of upstream module/models.py @48b1a01.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from engine.errors import CheckpointError
from engine.model_config import AcousticConfig, HifiGanConfig, SymbolSet
from engine.models.acoustic import AcousticNetwork

Shapes = Mapping[str, Sequence[int]]
Names = Iterator[tuple[str, str]]  # (ours, theirs)

# Upstream keeps these out of both shapes and config: mrte_model.py:17, modules.py:680 @48b1a01.
MRTE_HEADS = 4
STYLE_HEADS = 2
SYMBOL_SETS: Mapping[int, SymbolSet] = {322: "v1", 732: "v2"}


def config_from_official(
    shapes: Shapes, settings: Mapping[str, Any] | None = None
) -> AcousticConfig:
    """Read the sizes of a SoVITS checkpoint of v1, v2, v2Pro or v2ProPlus.

    Args:
        shapes: Shape of every tensor by its official name.
        settings: The stored config as plain dictionaries (`data`, `model`), when there is one.

    Raises:
        CheckpointError: If a tensor is missing or the model is of another kind.
    """
    data = dict((settings or {}).get("data") or {})
    model = dict((settings or {}).get("model") or {})
    shape = _Lookup(shapes)
    attention = "enc_p.encoder_text.attn_layers.0"
    hidden = shape("enc_p.proj.weight", 1)
    num_phonemes = shape("enc_p.text_embedding.weight", 0)
    if num_phonemes not in SYMBOL_SETS:
        valid = ", ".join(f"{size} ({name})" for size, name in SYMBOL_SETS.items())
        raise CheckpointError(
            f"SoVITS checkpoint has {num_phonemes} phoneme symbols, valid: {valid}"
        )
    has_speaker = "sv_emb.weight" in shapes
    has_posterior = "enc_q.pre.weight" in shapes
    hop = int(data.get("hop_length", 640))
    return AcousticConfig(
        sample_rate_hz=int(data.get("sampling_rate", 32000)),
        n_fft=int(data.get("filter_length", 2048)),
        hop=hop,
        ssl_dim=shape("ssl_proj.weight", 1),
        ssl_stride=shape("ssl_proj.weight", 2),
        codebook_size=shape("quantizer.vq.layers.0._codebook.embed", 0),
        codebook_dim=shape("quantizer.vq.layers.0._codebook.embed", 1),
        symbol_set=SYMBOL_SETS[num_phonemes],
        num_phonemes=num_phonemes,
        latent_dim=shape("enc_p.proj.weight", 0) // 2,
        hidden_dim=hidden,
        filter_dim=shape("enc_p.encoder_text.ffn_layers.0.conv_1.weight", 0),
        num_heads=hidden // shape(f"{attention}.emb_rel_k", 2),
        ssl_layers=shape.count("enc_p.encoder_ssl.attn_layers.{}.conv_q.weight"),
        text_layers=shape.count("enc_p.encoder_text.attn_layers.{}.conv_q.weight"),
        fusion_layers=shape.count("enc_p.encoder2.attn_layers.{}.conv_q.weight"),
        kernel=shape("enc_p.encoder_text.ffn_layers.0.conv_1.weight", 2),
        window=shape(f"{attention}.emb_rel_k", 1) // 2,
        mrte_dim=shape("enc_p.mrte.c_pre.weight", 0),
        mrte_heads=MRTE_HEADS,
        gin_dim=shape("ref_enc.fc.fc.weight", 0),
        style_bins=shape("ref_enc.spectral.0.fc.weight", 1),
        style_hidden=shape("ref_enc.spectral.0.fc.weight", 0),
        style_heads=STYLE_HEADS,
        style_kernel=shape("ref_enc.temporal.0.conv1.conv.weight", 2),
        speaker_dim=shape("sv_emb.weight", 1) if has_speaker else 0,
        # Couplings alternate with flips, which have a number but no tensors.
        flow_couplings=shape.count("flow.flows.{}.pre.weight", step=2),
        flow_layers=shape.count("flow.flows.0.enc.in_layers.{}.bias"),
        flow_kernel=shape("flow.flows.0.enc.in_layers.0.weight_v", 2),
        posterior_layers=shape.count("enc_q.enc.in_layers.{}.bias") if has_posterior else 16,
        posterior_kernel=shape("enc_q.enc.in_layers.0.weight_v", 2) if has_posterior else 5,
        decoder=_decoder_config(shape, model, hop),
    )


class _Lookup:
    """Shapes by name, with errors that say which tensor is missing."""

    def __init__(self, shapes: Shapes) -> None:
        self.shapes = shapes

    def __call__(self, name: str, axis: int) -> int:
        if name not in self.shapes or len(self.shapes[name]) <= axis:
            raise CheckpointError(
                f"not a SoVITS checkpoint of v1, v2, v2Pro or v2ProPlus: no usable tensor {name!r}"
            )
        return int(self.shapes[name][axis])

    def count(self, pattern: str, step: int = 1) -> int:
        """Return how many of pattern.format(0), (step), (2 * step)... exist."""
        number = 0
        while pattern.format(number * step) in self.shapes:
            number += 1
        return number


def _decoder_config(shape: _Lookup, model: Mapping[str, Any], hop: int) -> HifiGanConfig:
    default = HifiGanConfig()
    if "dec.resblocks.0.convs.0.weight_v" in shape.shapes:
        raise CheckpointError("SoVITS decoder uses resblock type 2, valid: type 1")
    num_stages = shape.count("dec.ups.{}.weight_v")
    num_blocks = shape.count("dec.resblocks.{}.convs1.0.weight_v")
    rates = tuple(int(rate) for rate in model.get("upsample_rates", default.upsample_rates))
    if len(rates) != num_stages or math.prod(rates) != hop or num_blocks % max(num_stages, 1):
        raise CheckpointError(
            f"SoVITS decoder has {num_stages} upsampling stages and {num_blocks} blocks, "
            f"its config says rates {rates} for a hop of {hop} samples"
        )
    per_stage = num_blocks // num_stages
    dilations = model.get("resblock_dilation_sizes", default.resblock_dilations)
    return HifiGanConfig(
        initial_channels=shape("dec.conv_pre.weight", 0),
        upsample_rates=rates,
        upsample_kernels=tuple(shape(f"dec.ups.{i}.weight_v", 2) for i in range(num_stages)),
        resblock_kernels=tuple(
            shape(f"dec.resblocks.{i}.convs1.0.weight_v", 2) for i in range(per_stage)
        ),
        resblock_dilations=tuple(tuple(int(d) for d in row) for row in dilations),
    )


def official_names(config: AcousticConfig, *, with_posterior: bool = False) -> dict[str, str]:
    """Return our parameter name -> the official one, for every tensor of the network."""
    assert isinstance(config.decoder, HifiGanConfig), "upstream has no other decoder"
    pairs: list[tuple[str, str]] = [
        *_quantizer(),
        *_prior(config),
        *_flow(config),
        *_decoder(config.decoder),
        *_style(config),
    ]
    if with_posterior:
        pairs += [
            *_leaves("posterior.input", "enc_q.pre"),
            *_gates("posterior.gates", "enc_q.enc", config.posterior_layers),
            *_leaves("posterior.stats", "enc_q.proj"),
        ]
    return dict(pairs)


def from_official(tensors: Mapping[str, Tensor], config: AcousticConfig) -> dict[str, Tensor]:
    """Return our state dict, fp32, of an official one.

    The posterior encoder is included when the checkpoint has one (pretrained files do, those of
    users do not).

    Raises:
        CheckpointError: If a tensor is missing, unknown or of another shape than `config` says.
    """
    with_posterior = any(name.startswith("enc_q.") for name in tensors)
    names = official_names(config, with_posterior=with_posterior)
    _check_names(set(tensors), set(names.values()))
    with torch.device("meta"):
        network = AcousticNetwork(config, with_posterior=with_posterior)
    state = {ours: tensors[theirs].float() for ours, theirs in names.items()}
    for name, expected in network.state_dict().items():
        if state[name].shape != expected.shape:
            raise CheckpointError(
                f"{names[name]} has shape {list(state[name].shape)}, "
                f"the rest of the checkpoint asks for {list(expected.shape)}"
            )
    return state


def to_official(state: Mapping[str, Tensor], config: AcousticConfig) -> dict[str, Tensor]:
    """Return the official state dict of ours, tensors unchanged.

    `state` must still have its weight norm split (as trained, before `prepare_inference`).
    """
    with_posterior = any(name.startswith("posterior.") for name in state)
    names = official_names(config, with_posterior=with_posterior)
    return {theirs: state[ours] for ours, theirs in names.items()}


def _check_names(found: set[str], known: set[str]) -> None:
    for problem, names in (("lacks", known - found), ("has unknown", found - known)):
        if names:
            shown = ", ".join(sorted(names)[:3])
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise CheckpointError(f"SoVITS checkpoint {problem} {shown}{more}")


def _leaves(ours: str, theirs: str) -> Names:
    for leaf in ("weight", "bias"):
        yield f"{ours}.{leaf}", f"{theirs}.{leaf}"


def _normed(ours: str, theirs: str) -> Names:
    """A convolution with weight norm: length, direction and bias."""
    yield f"{ours}.parametrizations.weight.original0", f"{theirs}.weight_g"
    yield f"{ours}.parametrizations.weight.original1", f"{theirs}.weight_v"
    yield f"{ours}.bias", f"{theirs}.bias"


def _gates(ours: str, theirs: str, num_layers: int) -> Names:
    yield from _normed(f"{ours}.condition", f"{theirs}.cond_layer")
    for i in range(num_layers):
        yield from _normed(f"{ours}.inputs.{i}", f"{theirs}.in_layers.{i}")
        yield from _normed(f"{ours}.outputs.{i}", f"{theirs}.res_skip_layers.{i}")


def _attention(ours: str, theirs: str) -> Names:
    for mine, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
        yield from _leaves(f"{ours}.{mine}", f"{theirs}.conv_{letter}")


def _encoder(ours: str, theirs: str, num_layers: int) -> Names:
    for i in range(num_layers):
        layer, attention = f"{ours}.layers.{i}", f"{theirs}.attn_layers.{i}"
        yield from _attention(f"{layer}.attention", attention)
        yield f"{layer}.attention.relative_key", f"{attention}.emb_rel_k"
        yield f"{layer}.attention.relative_value", f"{attention}.emb_rel_v"
        yield from _leaves(f"{layer}.feed_forward.expand", f"{theirs}.ffn_layers.{i}.conv_1")
        yield from _leaves(f"{layer}.feed_forward.contract", f"{theirs}.ffn_layers.{i}.conv_2")
        for mine, number in (("attention_norm", 1), ("feed_forward_norm", 2)):
            yield f"{layer}.{mine}.weight", f"{theirs}.norm_layers_{number}.{i}.gamma"
            yield f"{layer}.{mine}.bias", f"{theirs}.norm_layers_{number}.{i}.beta"


def _quantizer() -> Names:
    yield from _leaves("quantizer.project", "ssl_proj")
    codebook = "quantizer.vq.layers.0._codebook"
    yield "quantizer.codebook", f"{codebook}.embed"
    yield "quantizer.codebook_sum", f"{codebook}.embed_avg"
    yield "quantizer.cluster_size", f"{codebook}.cluster_size"
    yield "quantizer.initialized", f"{codebook}.inited"


def _prior(config: AcousticConfig) -> Names:
    yield from _leaves("prior.token_in", "enc_p.ssl_proj")
    yield from _encoder("prior.token_encoder", "enc_p.encoder_ssl", config.ssl_layers)
    yield "prior.phonemes.weight", "enc_p.text_embedding.weight"
    yield from _encoder("prior.text_encoder", "enc_p.encoder_text", config.text_layers)
    yield from _leaves("prior.fusion.frame_in", "enc_p.mrte.c_pre")
    yield from _leaves("prior.fusion.text_in", "enc_p.mrte.text_pre")
    yield from _attention("prior.fusion.attention", "enc_p.mrte.cross_attention")
    yield from _leaves("prior.fusion.out", "enc_p.mrte.c_post")
    if config.speaker_dim:
        yield from _leaves("prior.fusion.style_in", "ge_to512")
    yield from _encoder("prior.frame_encoder", "enc_p.encoder2", config.fusion_layers)
    yield from _leaves("prior.stats", "enc_p.proj")


def _flow(config: AcousticConfig) -> Names:
    for i in range(config.flow_couplings):
        ours, theirs = f"flow.couplings.{i}", f"flow.flows.{2 * i}"
        yield from _leaves(f"{ours}.input", f"{theirs}.pre")
        yield from _gates(f"{ours}.gates", f"{theirs}.enc", config.flow_layers)
        yield from _leaves(f"{ours}.shift", f"{theirs}.post")


def _decoder(settings: HifiGanConfig) -> Names:
    yield from _leaves("decoder.input", "dec.conv_pre")
    yield from _leaves("decoder.condition", "dec.cond")
    num_blocks = len(settings.resblock_kernels)
    for i in range(len(settings.upsample_rates)):
        yield from _normed(f"decoder.stages.{i}.upsample", f"dec.ups.{i}")
        for j, dilations in enumerate(settings.resblock_dilations):
            ours = f"decoder.stages.{i}.blocks.{j}"
            theirs = f"dec.resblocks.{i * num_blocks + j}"
            for k in range(len(dilations)):
                yield from _normed(f"{ours}.dilated.{k}", f"{theirs}.convs1.{k}")
                yield from _normed(f"{ours}.plain.{k}", f"{theirs}.convs2.{k}")
    yield "decoder.output.weight", "dec.conv_post.weight"


def _style(config: AcousticConfig) -> Names:
    ours, theirs = "style.spectrum", "ref_enc"
    yield from _leaves(f"{ours}.spectral_in", f"{theirs}.spectral.0.fc")
    yield from _leaves(f"{ours}.spectral_out", f"{theirs}.spectral.3.fc")
    for i in range(2):
        yield from _leaves(f"{ours}.temporal.{i}.conv", f"{theirs}.temporal.{i}.conv1.conv")
    for mine, letter in (("query", "qs"), ("key", "ks"), ("value", "vs")):
        yield from _leaves(f"{ours}.attention.{mine}", f"{theirs}.slf_attn.w_{letter}")
    yield from _leaves(f"{ours}.attention.out", f"{theirs}.slf_attn.fc")
    yield from _leaves(f"{ours}.out", f"{theirs}.fc.fc")
    if config.speaker_dim:
        yield from _leaves("style.speaker", "sv_emb")
        yield "style.activation.weight", "prelu.weight"
