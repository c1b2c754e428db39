"""Official GPT files (`weight` names, `config` keys) and our T2S, in both directions.

Sizes come from the shapes; the stored config gives only what shapes cannot tell (the number of
heads) and is checked against them. Works on numpy arrays and imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engine.errors import CheckpointError
from engine.model_config import T2SConfig
from engine.types import Array

_PREFIX = "model."
_TOP = {
    "ar_text_embedding.word_embeddings.weight": "phoneme_embedding.weight",
    "ar_audio_embedding.word_embeddings.weight": "token_embedding.weight",
    "bert_proj.weight": "bert_projection.weight",
    "bert_proj.bias": "bert_projection.bias",
    "ar_text_position.alpha": "phoneme_position.alpha",
    "ar_audio_position.alpha": "token_position.alpha",
    "ar_predict_layer.weight": "head.weight",
}
_LAYER = {
    "self_attn.in_proj_weight": "qkv.weight",
    "self_attn.in_proj_bias": "qkv.bias",
    "self_attn.out_proj.weight": "out.weight",
    "self_attn.out_proj.bias": "out.bias",
    "linear1.weight": "ffn_in.weight",
    "linear1.bias": "ffn_in.bias",
    "linear2.weight": "ffn_out.weight",
    "linear2.bias": "ffn_out.bias",
    "norm1.weight": "attention_norm.weight",
    "norm1.bias": "attention_norm.bias",
    "norm2.weight": "ffn_norm.weight",
    "norm2.bias": "ffn_norm.bias",
}
_OFFICIAL_LAYER = re.compile(r"h\.layers\.(\d+)\.")


def config_from_official(
    tensors: Mapping[str, Array], config: Mapping[str, Any] | None
) -> T2SConfig:
    """Return the numbers of an official GPT file.

    Args:
        tensors: Its `weight`, in official names.
        config: Its `config`.

    Raises:
        CheckpointError: A tensor is missing, or `config` is missing or contradicts the shapes.
    """
    phonemes, hidden = _shape(tensors, "ar_text_embedding.word_embeddings.weight")
    vocab, _ = _shape(tensors, "ar_audio_embedding.word_embeddings.weight")
    ffn, _ = _shape(tensors, "h.layers.0.linear1.weight")
    _, bert = _shape(tensors, "bert_proj.weight")
    matches = (_OFFICIAL_LAYER.match(name.removeprefix(_PREFIX)) for name in tensors)
    num_layers = 1 + max(int(match[1]) for match in matches if match)
    stored = (config or {}).get("model")
    if not isinstance(stored, Mapping) or not isinstance(stored.get("head"), int):
        raise CheckpointError(
            "the GPT file has no config.model.head (number of attention heads); use the file that "
            "training wrote to GPT_weights*/"
        )
    found = {
        "vocab_size": vocab,
        "phoneme_vocab_size": phonemes,
        "hidden_dim": hidden,
        "embedding_dim": hidden,
        "n_layer": num_layers,
        "EOS": vocab - 1,
    }
    for key, value in found.items():
        if stored.get(key, value) != value:
            raise CheckpointError(
                f"the GPT file's config.model.{key} is {stored[key]!r}, its tensors say {value}"
            )
    if hidden % stored["head"]:
        raise CheckpointError(
            f"the GPT file's config.model.head is {stored['head']}, which does not divide the "
            f"hidden size {hidden}"
        )
    return T2SConfig(
        num_layers=num_layers,
        hidden_dim=hidden,
        num_heads=stored["head"],
        ffn_dim=ffn,
        num_phonemes=phonemes,
        vocab_size=vocab,
        bert_dim=bert,
    )


def weights_from_official(tensors: Mapping[str, Array], config: T2SConfig) -> dict[str, Array]:
    """Return the weights under our names, in the type they are stored in.

    Raises:
        CheckpointError: A tensor is missing, unknown or of another shape than `config` says.
    """
    to_official = _official_names(config)
    known = set(to_official.values())
    if unknown := sorted(set(tensors) - known):
        raise CheckpointError(f"the GPT file has unknown tensors: {', '.join(unknown[:5])}")
    shapes = weight_shapes(config)
    weights: dict[str, Array] = {}
    for name, official in to_official.items():
        shape = _shape(tensors, official.removeprefix(_PREFIX))
        if shape != shapes[name]:
            raise CheckpointError(
                f"the GPT file's {official} has shape {list(shape)}, expected {list(shapes[name])}"
            )
        weights[name] = tensors[official]
    return weights


def weights_to_official(weights: Mapping[str, Array], config: T2SConfig) -> dict[str, Array]:
    """Return weights in our names under the official ones."""
    return {official: weights[name] for name, official in _official_names(config).items()}


def config_to_official(config: T2SConfig) -> dict[str, Any]:
    """Return the `config` that upstream reads back from a GPT file (s1longer-v2.yaml @48b1a01)."""
    return {
        "model": {
            "vocab_size": config.vocab_size,
            "phoneme_vocab_size": config.num_phonemes,
            "embedding_dim": config.hidden_dim,
            "hidden_dim": config.hidden_dim,
            "head": config.num_heads,
            "linear_units": config.ffn_dim,
            "n_layer": config.num_layers,
            "dropout": 0,
            "EOS": config.eos,
            "random_bert": 0,
        },
        "data": {"max_sec": 54, "pad_val": config.eos},
        "inference": {"top_k": 15},
    }


def weight_shapes(config: T2SConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every weight of the network, by our names."""
    hidden, ffn = config.hidden_dim, config.ffn_dim
    shapes: dict[str, tuple[int, ...]] = {
        "phoneme_embedding.weight": (config.num_phonemes, hidden),
        "token_embedding.weight": (config.vocab_size, hidden),
        "bert_projection.weight": (hidden, config.bert_dim),
        "bert_projection.bias": (hidden,),
        "phoneme_position.alpha": (1,),
        "token_position.alpha": (1,),
        "head.weight": (config.vocab_size, hidden),
    }
    layer: dict[str, tuple[int, ...]] = {
        "qkv.weight": (3 * hidden, hidden),
        "qkv.bias": (3 * hidden,),
        "out.weight": (hidden, hidden),
        "out.bias": (hidden,),
        "ffn_in.weight": (ffn, hidden),
        "ffn_in.bias": (ffn,),
        "ffn_out.weight": (hidden, ffn),
        "ffn_out.bias": (hidden,),
    }
    for norm in ("attention_norm", "ffn_norm"):
        layer |= {f"{norm}.weight": (hidden,), f"{norm}.bias": (hidden,)}
    for index in range(config.num_layers):
        shapes |= {f"layers.{index}.{name}": shape for name, shape in layer.items()}
    return shapes


def _official_names(config: T2SConfig) -> dict[str, str]:
    """Return our name -> official name."""
    names = {ours: _PREFIX + official for official, ours in _TOP.items()}
    for index in range(config.num_layers):
        for official, ours in _LAYER.items():
            names[f"layers.{index}.{ours}"] = f"{_PREFIX}h.layers.{index}.{official}"
    return names


def _shape(tensors: Mapping[str, Array], name: str) -> tuple[int, ...]:
    if _PREFIX + name not in tensors:
        raise CheckpointError(f"the GPT file has no tensor {_PREFIX}{name}")
    return tuple(tensors[_PREFIX + name].shape)
