"""Every tensor of the acoustic network: our name, the official one, and its shape.

Source: parameter names of upstream module/models.py @48b1a01. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from engine.model_config import AcousticConfig, HifiGanConfig


class Entry(NamedTuple):
    """One tensor."""

    ours: str
    official: str
    shape: tuple[int, ...]


Entries = Iterator[Entry]


def entries(config: AcousticConfig, *, with_posterior: bool = False) -> list[Entry]:
    """Return all tensors of a network with a HiFi-GAN decoder."""
    assert isinstance(config.decoder, HifiGanConfig), "upstream has no other decoder"
    found = [
        *_quantizer(config),
        *_prior(config),
        *_flow(config),
        *_decoder(config, config.decoder),
        *_style(config),
    ]
    if with_posterior:
        found += _posterior(config)
    return found


def _dense(ours: str, official: str, *shape: int) -> Entries:
    """Weight and bias."""
    yield Entry(f"{ours}.weight", f"{official}.weight", shape)
    yield Entry(f"{ours}.bias", f"{official}.bias", shape[:1])


def _normed(
    ours: str, official: str, shape: tuple[int, int, int], *, transposed: bool = False
) -> Entries:
    """A convolution with weight norm: length, direction and bias.

    The length belongs to axis 0, which is the input channel of a transposed convolution.
    """
    split = f"{ours}.parametrizations.weight.original"
    yield Entry(f"{split}0", f"{official}.weight_g", (shape[0], 1, 1))
    yield Entry(f"{split}1", f"{official}.weight_v", shape)
    yield Entry(f"{ours}.bias", f"{official}.bias", (shape[1 if transposed else 0],))


def _gates(
    ours: str, official: str, num_layers: int, kernel: int, config: AcousticConfig
) -> Entries:
    width = config.hidden_dim
    condition = (2 * width * num_layers, config.gin_dim, 1)
    yield from _normed(f"{ours}.condition", f"{official}.cond_layer", condition)
    for i in range(num_layers):
        yield from _normed(
            f"{ours}.inputs.{i}", f"{official}.in_layers.{i}", (2 * width, width, kernel)
        )
        out = width if i == num_layers - 1 else 2 * width
        yield from _normed(
            f"{ours}.outputs.{i}", f"{official}.res_skip_layers.{i}", (out, width, 1)
        )


def _attention(ours: str, official: str, width: int) -> Entries:
    for mine, letter in (("query", "q"), ("key", "k"), ("value", "v"), ("out", "o")):
        yield from _dense(f"{ours}.{mine}", f"{official}.conv_{letter}", width, width, 1)


def _encoder(ours: str, official: str, num_layers: int, config: AcousticConfig) -> Entries:
    width, inner, kernel = config.hidden_dim, config.filter_dim, config.kernel
    relative = (1, 2 * config.window + 1, width // config.num_heads)
    for i in range(num_layers):
        layer, attention = f"{ours}.layers.{i}", f"{official}.attn_layers.{i}"
        yield from _attention(f"{layer}.attention", attention, width)
        yield Entry(f"{layer}.attention.relative_key", f"{attention}.emb_rel_k", relative)
        yield Entry(f"{layer}.attention.relative_value", f"{attention}.emb_rel_v", relative)
        mine, theirs = f"{layer}.feed_forward", f"{official}.ffn_layers.{i}"
        yield from _dense(f"{mine}.expand", f"{theirs}.conv_1", inner, width, kernel)
        yield from _dense(f"{mine}.contract", f"{theirs}.conv_2", width, inner, kernel)
        for norm, number in (("attention_norm", 1), ("feed_forward_norm", 2)):
            theirs = f"{official}.norm_layers_{number}.{i}"
            yield Entry(f"{layer}.{norm}.weight", f"{theirs}.gamma", (width,))
            yield Entry(f"{layer}.{norm}.bias", f"{theirs}.beta", (width,))


def _quantizer(config: AcousticConfig) -> Entries:
    size, width = config.codebook_size, config.codebook_dim
    yield from _dense("quantizer.project", "ssl_proj", width, config.ssl_dim, config.ssl_stride)
    official = "quantizer.vq.layers.0._codebook"
    yield Entry("quantizer.codebook", f"{official}.embed", (size, width))
    yield Entry("quantizer.codebook_sum", f"{official}.embed_avg", (size, width))
    yield Entry("quantizer.cluster_size", f"{official}.cluster_size", (size,))
    yield Entry("quantizer.initialized", f"{official}.inited", (1,))


def _prior(config: AcousticConfig) -> Entries:
    width, fused = config.hidden_dim, config.mrte_dim
    yield from _dense("prior.token_in", "enc_p.ssl_proj", width, config.codebook_dim, 1)
    yield from _encoder("prior.token_encoder", "enc_p.encoder_ssl", config.ssl_layers, config)
    yield Entry(
        "prior.phonemes.weight", "enc_p.text_embedding.weight", (config.num_phonemes, width)
    )
    yield from _encoder("prior.text_encoder", "enc_p.encoder_text", config.text_layers, config)
    yield from _dense("prior.fusion.frame_in", "enc_p.mrte.c_pre", fused, width, 1)
    yield from _dense("prior.fusion.text_in", "enc_p.mrte.text_pre", fused, width, 1)
    yield from _attention("prior.fusion.attention", "enc_p.mrte.cross_attention", fused)
    yield from _dense("prior.fusion.out", "enc_p.mrte.c_post", width, fused, 1)
    if config.speaker_dim:
        yield from _dense("prior.fusion.style_in", "ge_to512", fused, config.gin_dim)
    yield from _encoder("prior.frame_encoder", "enc_p.encoder2", config.fusion_layers, config)
    yield from _dense("prior.stats", "enc_p.proj", 2 * config.latent_dim, width, 1)


def _flow(config: AcousticConfig) -> Entries:
    width, half = config.hidden_dim, config.latent_dim // 2
    for i in range(config.flow_couplings):
        # Couplings alternate with flips, which have a number but no tensors.
        ours, official = f"flow.couplings.{i}", f"flow.flows.{2 * i}"
        yield from _dense(f"{ours}.input", f"{official}.pre", width, half, 1)
        yield from _gates(
            f"{ours}.gates", f"{official}.enc", config.flow_layers, config.flow_kernel, config
        )
        yield from _dense(f"{ours}.shift", f"{official}.post", half, width, 1)


def _posterior(config: AcousticConfig) -> Entries:
    width, layers, kernel = config.hidden_dim, config.posterior_layers, config.posterior_kernel
    yield from _dense("posterior.input", "enc_q.pre", width, config.spec_bins, 1)
    yield from _gates("posterior.gates", "enc_q.enc", layers, kernel, config)
    yield from _dense("posterior.stats", "enc_q.proj", 2 * config.latent_dim, width, 1)


def _decoder(config: AcousticConfig, settings: HifiGanConfig) -> Entries:
    channels = settings.initial_channels
    yield from _dense("decoder.input", "dec.conv_pre", channels, config.latent_dim, 7)
    yield from _dense("decoder.condition", "dec.cond", channels, config.gin_dim, 1)
    num_blocks = len(settings.resblock_kernels)
    for i, kernel in enumerate(settings.upsample_kernels):
        upsample = f"decoder.stages.{i}.upsample"
        shape = (channels, channels // 2, kernel)
        yield from _normed(upsample, f"dec.ups.{i}", shape, transposed=True)
        channels //= 2
        for j, kernel in enumerate(settings.resblock_kernels):
            ours = f"decoder.stages.{i}.blocks.{j}"
            official = f"dec.resblocks.{i * num_blocks + j}"
            for k in range(len(settings.resblock_dilations[j])):
                shape = (channels, channels, kernel)
                yield from _normed(f"{ours}.dilated.{k}", f"{official}.convs1.{k}", shape)
                yield from _normed(f"{ours}.plain.{k}", f"{official}.convs2.{k}", shape)
    yield Entry("decoder.output.weight", "dec.conv_post.weight", (1, channels, 7))


def _style(config: AcousticConfig) -> Entries:
    ours, official, width = "style.spectrum", "ref_enc", config.style_hidden
    yield from _dense(f"{ours}.spectral_in", f"{official}.spectral.0.fc", width, config.style_bins)
    yield from _dense(f"{ours}.spectral_out", f"{official}.spectral.3.fc", width, width)
    for i in range(2):
        theirs = f"{official}.temporal.{i}.conv1.conv"
        yield from _dense(
            f"{ours}.temporal.{i}.conv", theirs, 2 * width, width, config.style_kernel
        )
    for mine, letter in (("query", "qs"), ("key", "ks"), ("value", "vs")):
        theirs = f"{official}.slf_attn.w_{letter}"
        yield from _dense(f"{ours}.attention.{mine}", theirs, width, width)
    yield from _dense(f"{ours}.attention.out", f"{official}.slf_attn.fc", width, width)
    yield from _dense(f"{ours}.out", f"{official}.fc.fc", config.gin_dim, width)
    if config.speaker_dim:
        yield from _dense("style.speaker", "sv_emb", config.gin_dim, config.speaker_dim)
        yield Entry("style.activation.weight", "prelu.weight", (config.gin_dim,))
