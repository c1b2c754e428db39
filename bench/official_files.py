"""Writes checkpoints in the official containers, any size, with generated weights.

The shapes are worked out from a few sizes by the rules of the public networks and compared with the
fixtures' own lists in tests; the fill is the portable one of the fixtures' README, so that a model
written here computes numbers that differ from zero everywhere.
"""

from __future__ import annotations

import contextlib
import json
import sys
import types
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.types import Array

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class GptSizes:
    """Sizes of a GPT file; the defaults are the full-size v2 model."""

    layers: int = 24
    dim: int = 512
    heads: int = 16
    vocab: int = 1025
    phonemes: int = 732
    bert: int = 1024


@dataclass(frozen=True, slots=True)
class SovitsSizes:
    """Sizes of a SoVITS file; the defaults are the full-size v2 model."""

    version: str = "v2"
    symbols: int = 732
    inter: int = 192
    hidden: int = 192
    filter: int = 768
    heads: int = 2
    layers: tuple[int, int, int] = (3, 6, 3)  # encoder_ssl, encoder_text, encoder2
    ssl: int = 768
    codebook: int = 1024
    mrte: int = 512
    gin: int = 512
    style_bins: int = 704
    style_hidden: int = 128
    generator: int = 512
    kernels: tuple[int, ...] = (16, 16, 8, 2, 2)
    speaker: int = 0

    @property
    def is_pro(self) -> bool:
        """True where a speaker embedding enters."""
        return self.speaker > 0


TINY_GPT = GptSizes(layers=3, dim=32, heads=4, vocab=129, bert=24)
TINY_SOVITS = SovitsSizes(
    inter=8, hidden=8, filter=12, layers=(1, 2, 1), ssl=32, codebook=128, mrte=16, gin=16,
    style_hidden=8, generator=32,
)  # fmt: skip
TINY_SOVITS_V1 = replace(TINY_SOVITS, version="v1", symbols=322, style_bins=1025)
TINY_GPT_V1 = replace(TINY_GPT, phonemes=512)
FULL_SOVITS = SovitsSizes()
FULL_V1 = SovitsSizes(version="v1", symbols=322, style_bins=1025)
FULL_PRO = SovitsSizes(version="v2Pro", gin=1024, speaker=20480)
FULL_PLUS = replace(FULL_PRO, version="v2ProPlus", generator=768, kernels=(20, 16, 8, 2, 2))
RATES = (10, 8, 2, 2, 2)
DILATIONS = (1, 3, 5)


def gpt_shapes(s: GptSizes) -> Shapes:
    """Return names and shapes of a GPT state dict."""
    shapes: Shapes = {
        "bert_proj.weight": (s.dim, s.bert),
        "bert_proj.bias": (s.dim,),
        "ar_text_embedding.word_embeddings.weight": (s.phonemes, s.dim),
        "ar_audio_embedding.word_embeddings.weight": (s.vocab, s.dim),
        "ar_text_position.alpha": (1,),
        "ar_audio_position.alpha": (1,),
        "ar_predict_layer.weight": (s.vocab, s.dim),
    }
    for i in range(s.layers):
        layer: Shapes = {
            "self_attn.in_proj_weight": (3 * s.dim, s.dim),
            "self_attn.in_proj_bias": (3 * s.dim,),
            **_dense("self_attn.out_proj", s.dim, s.dim),
            **_dense("linear1", 4 * s.dim, s.dim),
            **_dense("linear2", s.dim, 4 * s.dim),
            **{f"norm{n}.{w}": (s.dim,) for n in (1, 2) for w in ("weight", "bias")},
        }
        shapes |= {f"h.layers.{i}.{name}": shape for name, shape in layer.items()}
    return {f"model.{name}": shape for name, shape in shapes.items()}


def sovits_shapes(s: SovitsSizes) -> Shapes:
    """Return names and shapes of a SoVITS state dict without its posterior encoder."""
    ssl_layers, text_layers, fusion_layers = s.layers
    shapes: Shapes = {
        "enc_p.text_embedding.weight": (s.symbols, s.hidden),
        **_dense("enc_p.ssl_proj", s.hidden, s.ssl, 1),
        **_encoder("enc_p.encoder_ssl", ssl_layers, s),
        **_encoder("enc_p.encoder_text", text_layers, s),
        **_encoder("enc_p.encoder2", fusion_layers, s),
        **_dense("enc_p.mrte.c_pre", s.mrte, s.hidden, 1),
        **_dense("enc_p.mrte.text_pre", s.mrte, s.hidden, 1),
        **_dense("enc_p.mrte.c_post", s.hidden, s.mrte, 1),
        **_dense("enc_p.proj", 2 * s.inter, s.hidden, 1),
        **_dense("ssl_proj", s.ssl, s.ssl, 2),
        **_generator(s),
        **_flow(s),
        **_style(s),
    }
    for name in "qkvo":
        shapes |= _dense(f"enc_p.mrte.cross_attention.conv_{name}", s.mrte, s.mrte, 1)
    book = "quantizer.vq.layers.0._codebook."
    shapes |= {book + n: (s.codebook, s.ssl) for n in ("embed", "embed_avg")}
    shapes |= {book + "cluster_size": (s.codebook,), book + "inited": (1,)}
    if s.is_pro:
        shapes |= _dense("sv_emb", s.gin, s.speaker) | _dense("ge_to512", s.mrte, s.gin)
        shapes["prelu.weight"] = (s.gin,)
    return shapes


def _dense(name: str, *shape: int) -> Shapes:
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _normed(name: str, *shape: int, bias: int | None = None) -> Shapes:
    """Weight norm over dimension 0, as stored."""
    gain = (shape[0],) + (1,) * (len(shape) - 1)
    return {
        f"{name}.weight_g": gain,
        f"{name}.weight_v": shape,
        f"{name}.bias": (shape[0] if bias is None else bias,),
    }


def _encoder(name: str, layers: int, s: SovitsSizes) -> Shapes:
    shapes: Shapes = {}
    for i in range(layers):
        attention = f"{name}.attn_layers.{i}"
        for c in "qkvo":
            shapes |= _dense(f"{attention}.conv_{c}", s.hidden, s.hidden, 1)
        shapes |= {f"{attention}.emb_rel_{c}": (1, 9, s.hidden // s.heads) for c in "kv"}
        shapes |= _dense(f"{name}.ffn_layers.{i}.conv_1", s.filter, s.hidden, 3)
        shapes |= _dense(f"{name}.ffn_layers.{i}.conv_2", s.hidden, s.filter, 3)
        for n in (1, 2):
            shapes |= {f"{name}.norm_layers_{n}.{i}.{w}": (s.hidden,) for w in ("gamma", "beta")}
    return shapes


def _generator(s: SovitsSizes) -> Shapes:
    shapes = _dense("dec.conv_pre", s.generator, s.inter, 7)
    shapes |= _dense("dec.cond", s.generator, s.gin, 1)
    channels = s.generator
    for i, kernel in enumerate(s.kernels):
        shapes |= _normed(f"dec.ups.{i}", channels, channels // 2, kernel, bias=channels // 2)
        channels //= 2
        for j, width in enumerate((3, 7, 11)):
            for convs in ("convs1", "convs2"):
                for k in range(len(DILATIONS)):
                    name = f"dec.resblocks.{3 * i + j}.{convs}.{k}"
                    shapes |= _normed(name, channels, channels, width)
    shapes["dec.conv_post.weight"] = (1, channels, 7)
    return shapes


def _flow(s: SovitsSizes) -> Shapes:
    shapes: Shapes = {}
    half = s.inter // 2
    for flow in (0, 2, 4, 6):
        name = f"flow.flows.{flow}"
        shapes |= _dense(f"{name}.pre", s.hidden, half, 1) | _dense(
            f"{name}.post", half, s.hidden, 1
        )
        shapes |= _normed(f"{name}.enc.cond_layer", 8 * s.hidden, s.gin, 1)
        for i in range(4):
            shapes |= _normed(f"{name}.enc.in_layers.{i}", 2 * s.hidden, s.hidden, 5)
            outputs = s.hidden if i == 3 else 2 * s.hidden
            shapes |= _normed(f"{name}.enc.res_skip_layers.{i}", outputs, s.hidden, 1)
    return shapes


def _style(s: SovitsSizes) -> Shapes:
    width = s.style_hidden
    shapes = _dense("ref_enc.spectral.0.fc", width, s.style_bins)
    shapes |= _dense("ref_enc.spectral.3.fc", width, width)
    for i in range(2):
        shapes |= _dense(f"ref_enc.temporal.{i}.conv1.conv", 2 * width, width, 5)
    for name in ("w_qs", "w_ks", "w_vs", "fc"):
        shapes |= _dense(f"ref_enc.slf_attn.{name}", width, width)
    return shapes | _dense("ref_enc.fc.fc", s.gin, width)


def portable(name: str, count: int, seed: int) -> Array:
    """Return the fixtures' reproducible numbers, float32 in [-1, 1)."""
    key = np.array([zlib.crc32(name.encode()), seed], np.uint64)
    words = np.random.Philox(key=key).random_raw(count)
    return (((words >> np.uint64(40)).astype(np.int64) - 2**23) / 2**23).astype(np.float32)


def fill(name: str, shape: tuple[int, ...], seed: int = 1) -> Array:
    """Return the portable weight of a tensor, as float32 rounded to float16 (counters: int64)."""
    u = portable(name, int(np.prod(shape)), seed).reshape(shape)
    end = name.rpartition(".")[2]
    if end == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if end in ("inited", "cluster_size"):
        u = np.ones_like(u)
    elif end == "running_var":
        u = 1 + 0.3 * u
    elif name.endswith("prelu.weight"):
        u = 0.25 + 0.1 * u
    elif end in ("gamma", "weight_g") or (end == "weight" and len(shape) == 1):
        u = 1 + 0.2 * u
    elif end == "alpha":
        u = 1 + 0.3 * u
    elif end == "beta" or len(shape) == 1:
        u = 0.1 * u
    elif end.startswith("emb_rel"):
        u = u * np.sqrt(3 / shape[-1])
    elif end in ("embed", "embed_avg") or "_embedding" in name:
        u = np.sqrt(3) * u
    else:
        u = _gain(name) * np.sqrt(3 / np.prod(shape[1:])) * u
    return u.astype(np.float32).astype(np.float16).astype(np.float32)


def _gain(name: str) -> float:
    if "ar_predict_layer" in name:
        return 3.0
    if name.startswith("enc_p.proj") or (name.startswith("flow.") and ".post." in name):
        return 0.5
    return 0.35 if name.startswith("dec.conv_post") else 1.0


def state_dict(shapes: Mapping[str, tuple[int, ...]], seed: int = 1) -> OrderedDict[str, Any]:
    """Return torch tensors, filled: float16, counters int64."""
    import torch  # only to write: what is measured without torch reads this module too

    arrays = ((name, fill(name, shape, seed)) for name, shape in shapes.items())
    return OrderedDict(
        (name, torch.from_numpy(a.astype(np.float16) if a.dtype.kind == "f" else a))
        for name, a in arrays
    )


@contextlib.contextmanager
def hparams_class() -> Iterator[type]:
    """Yield a class that pickles as `utils.HParams`, as the official trainer's does."""
    module = types.ModuleType("utils")
    module.HParams = type("HParams", (), {"__module__": "utils"})  # type: ignore[attr-defined]
    before = sys.modules.get("utils")
    sys.modules["utils"] = module
    try:
        yield module.HParams
    finally:
        if before is None:
            del sys.modules["utils"]
        else:
            sys.modules["utils"] = before


def _as_hparams(cls: type, values: Mapping[str, Any]) -> Any:
    bag = cls()
    for key, value in values.items():
        setattr(bag, key, _as_hparams(cls, value) if isinstance(value, dict) else value)
    return bag


def gpt_config(s: GptSizes) -> dict[str, Any]:
    """Return the plain dict a GPT file stores."""
    model = {
        "vocab_size": s.vocab, "phoneme_vocab_size": s.phonemes, "embedding_dim": s.dim,
        "hidden_dim": s.dim, "head": s.heads, "linear_units": 4 * s.dim, "n_layer": s.layers,
        "dropout": 0, "EOS": s.vocab - 1, "random_bert": 0,
    }  # fmt: skip
    return {"model": model, "data": {"max_sec": 54, "pad_val": s.vocab - 1}}


def sovits_config(s: SovitsSizes) -> dict[str, Any]:
    """Return the values a SoVITS file stores as HParams."""
    model = {
        "inter_channels": s.inter, "hidden_channels": s.hidden, "filter_channels": s.filter,
        "n_heads": s.heads, "n_layers": s.layers[1], "kernel_size": 3, "p_dropout": 0.1,
        "resblock": "1", "resblock_kernel_sizes": [3, 7, 11],
        "resblock_dilation_sizes": [list(DILATIONS)] * 3, "upsample_rates": list(RATES),
        "upsample_initial_channel": s.generator, "upsample_kernel_sizes": list(s.kernels),
        "gin_channels": s.gin, "semantic_frame_rate": "25hz", "freeze_quantizer": True,
        "version": s.version,
    }  # fmt: skip
    data = {
        "sampling_rate": 32000, "filter_length": 2048, "hop_length": 640, "win_length": 2048,
        "n_speakers": 300,
    }  # fmt: skip
    train = {"segment_size": 20480}
    return {"model": model, "data": data, "train": train, "version": s.version}


def write_gpt(
    path: Path,
    sizes: GptSizes = TINY_GPT,
    *,
    seed: int = 1,
    replaced: Mapping[str, Array] | None = None,
) -> Path:
    """Write a GPT .ckpt; tensors in `replaced` are taken from there, as float16."""
    import torch

    weight = state_dict(gpt_shapes(sizes), seed)
    for name, array in (replaced or {}).items():
        weight[name] = torch.from_numpy(array.astype(np.float16))
    torch.save({"weight": weight, "config": gpt_config(sizes), "info": "GPT-e15"}, path)
    return path


def write_sovits(
    path: Path, sizes: SovitsSizes = TINY_SOVITS, *, seed: int = 1, tag: str | None = None
) -> Path:
    """Write a SoVITS .pth; `tag` replaces its first two bytes."""
    import torch

    with hparams_class() as cls:
        config = _as_hparams(cls, sovits_config(sizes))
        weight = state_dict(sovits_shapes(sizes), seed)
        torch.save({"weight": weight, "config": config, "info": "8epoch_216iteration"}, path)
    if tag is not None:
        with path.open("r+b") as file:
            file.write(tag.encode())
    return path


def write_speaker(path: Path, sizes: SpeakerSizes | None = None, *, seed: int = 1) -> Path:
    """Write a bare ERes2NetV2 state dict; full-size by default."""
    import torch

    torch.save(state_dict(speaker_shapes(sizes or SpeakerSizes()), seed), path)
    return path


def write_hubert(folder: Path) -> Path:
    """Write a full-size HuBERT folder with transformers' own random weights, in its old container.

    chinese-hubert-base has exactly the sizes that are HubertConfig's defaults.
    """
    import torch
    from transformers import HubertConfig, HubertModel

    folder.mkdir()
    torch.manual_seed(1)
    network = HubertModel(HubertConfig())
    weights = {
        old_weight_norm(name): tensor.half() for name, tensor in network.state_dict().items()
    }
    torch.save(weights, folder / "pytorch_model.bin")
    network.config.save_pretrained(folder)
    return folder


def old_weight_norm(name: str) -> str:
    """Return a parameter's name as torch's old weight norm had it."""
    name = name.replace(".parametrizations.weight.original0", ".weight_g")
    return name.replace(".parametrizations.weight.original1", ".weight_v")


def write_vocab(folder: Path, size: int) -> None:
    """Give a BERT folder a tokenizer.json of `size` tokens."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens = special + [chr(0x4E00 + i) for i in range(size - len(special))]
    vocab = {token: i for i, token in enumerate(tokens)}
    (folder / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": vocab}}, ensure_ascii=False), encoding="utf-8"
    )


@dataclass(frozen=True, slots=True)
class SpeakerSizes:
    """Sizes of an ERes2NetV2 file; the defaults are w24s4ep4."""

    channels: int = 64
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    base_width: int = 24
    scale: int = 4
    expansion: int = 4
    embedding: int = 192

    @property
    def dim(self) -> int:
        """Length of the vector GPT-SoVITS takes from it."""
        return 8 * self.channels * self.expansion * 10


TINY_SPEAKER = SpeakerSizes(channels=4, blocks=(1, 2, 1, 1), expansion=2, embedding=4)


def speaker_shapes(s: SpeakerSizes) -> Shapes:
    """Return names and shapes of an ERes2NetV2 state dict."""
    shapes: Shapes = {"conv1.weight": (s.channels, 1, 3, 3), **_batch_norm("bn1", s.channels)}
    inputs = s.channels
    for stage, count in enumerate(s.blocks, 1):
        planes = s.channels * 2 ** (stage - 1)
        for block in range(count):
            stride = 2 if stage > 1 and block == 0 else 1
            shapes |= _speaker_block(f"layer{stage}.{block}", inputs, planes, stride, stage, s)
            inputs = planes * s.expansion
    shapes["layer3_ds.weight"] = (inputs, inputs // 2, 3, 3)
    shapes |= _attentive_fusion("fuse34", inputs)
    return shapes | _dense("seg_1", s.embedding, 2 * s.dim)


def _speaker_block(
    name: str, inputs: int, planes: int, stride: int, stage: int, s: SpeakerSizes
) -> Shapes:
    width = planes * s.base_width // 64
    outputs = planes * s.expansion
    shapes: Shapes = {
        f"{name}.conv1.weight": (width * s.scale, inputs, 1, 1),
        **_batch_norm(f"{name}.bn1", width * s.scale),
        f"{name}.conv3.weight": (outputs, width * s.scale, 1, 1),
        **_batch_norm(f"{name}.bn3", outputs),
    }
    for i in range(s.scale):
        shapes[f"{name}.convs.{i}.weight"] = (width, width, 3, 3)
        shapes |= _batch_norm(f"{name}.bns.{i}", width)
    if stride != 1 or inputs != outputs:
        shapes[f"{name}.shortcut.0.weight"] = (outputs, inputs, 1, 1)
        shapes |= _batch_norm(f"{name}.shortcut.1", outputs)
    if stage > 2:
        for i in range(s.scale - 1):
            shapes |= _attentive_fusion(f"{name}.fuse_models.{i}", width)
    return shapes


def _attentive_fusion(name: str, channels: int) -> Shapes:
    inner = channels // 4
    return {
        **_dense(f"{name}.local_att.0", inner, 2 * channels, 1, 1),
        **_batch_norm(f"{name}.local_att.1", inner),
        **_dense(f"{name}.local_att.3", channels, inner, 1, 1),
        **_batch_norm(f"{name}.local_att.4", channels),
    }


def _batch_norm(name: str, channels: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}
