"""The official encoders of reference audio and text, in the form a pack stores them.

HuBERT and BERT keep the names of `transformers`, cleaned (prefixes, heads that are not used, old
weight-norm names); ERes2NetV2 gets ours. Works on numpy arrays and imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from engine.errors import CheckpointError
from engine.model_config import BertConfig, SpeakerConfig, SslConfig
from engine.types import Array

_MEL_BINS = 80
_HALVINGS = 8  # of the mel axis, by the three strided stages
_ERES2NETV2_UNUSED = re.compile(r"(seg_|pool|.*num_batches_tracked$)")
_ERES2NETV2_RULES = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"^layer3_ds\.", "downsample."),
    (r"^fuse34\.local_att\.", "fusion."),
    (r"^layer(\d)\.(\d+)\.", lambda m: f"stages.{int(m[1]) - 1}.{m[2]}."),
    (r"\.conv1\.", ".entry.conv."),
    (r"\.bn1\.", ".entry.norm."),
    (r"\.convs\.(\d+)\.", r".groups.\1.conv."),
    (r"\.bns\.(\d+)\.", r".groups.\1.norm."),
    (r"\.fuse_models\.(\d+)\.local_att\.", r".gates.\1."),
    (r"\.conv3\.", ".exit.conv."),
    (r"\.bn3\.", ".exit.norm."),
    (r"\.shortcut\.0\.", ".shortcut.conv."),
    (r"\.shortcut\.1\.", ".shortcut.norm."),
    (r"((?:gates\.\d+|fusion)\.)0\.", r"\1squeeze."),
    (r"((?:gates\.\d+|fusion)\.)1\.", r"\1squeeze_norm."),
    (r"((?:gates\.\d+|fusion)\.)3\.", r"\1expand."),
    (r"((?:gates\.\d+|fusion)\.)4\.", r"\1expand_norm."),
)


def hubert_from_official(
    tensors: Mapping[str, Array], settings: Mapping[str, Any]
) -> tuple[SslConfig, dict[str, Array]]:
    """Return config and weights of a `transformers` HuBERT folder.

    Args:
        settings: Its config.json.

    Raises:
        CheckpointError: If the weights are not HuBERT's.
    """
    weights = {_modern_weight_norm(n.removeprefix("hubert.")): t for n, t in tensors.items()}
    weights = {n: t for n, t in weights.items() if not n.startswith(("lm_head.", "final_proj."))}
    _require(weights, "feature_projection.projection.weight", "HuBERT")
    dim = weights["feature_projection.projection.weight"].shape[0]
    return SslConfig(kind="hubert", dim=dim, settings=_clean(settings)), weights


def bert_from_official(
    tensors: Mapping[str, Array], settings: Mapping[str, Any], *, layer: int = -3
) -> tuple[BertConfig, dict[str, Array]]:
    """Return config and weights of a `transformers` BERT folder.

    The language-model head and the layers above hidden_states[layer] are left out.

    Raises:
        CheckpointError: If the weights are not BERT's, or it has too few layers.
    """
    weights = {name.removeprefix("bert."): tensor for name, tensor in tensors.items()}
    _require(weights, "embeddings.word_embeddings.weight", "BERT")
    # hidden_states has one entry more than there are layers: the embeddings.
    num_layers = int(settings["num_hidden_layers"]) + 1 + layer
    if num_layers < 1:
        raise CheckpointError(
            f"the BERT has {settings['num_hidden_layers']} layers, hidden_states[{layer}] needs "
            f"at least {-layer}"
        )
    kept = {
        name: tensor
        for name, tensor in weights.items()
        if name.startswith(("embeddings.", "encoder."))
        and not name.endswith("position_ids")
        and not ((m := re.match(r"encoder\.layer\.(\d+)\.", name)) and int(m[1]) >= num_layers)
    }
    dim = kept["embeddings.word_embeddings.weight"].shape[1]
    return BertConfig(dim=dim, layer=layer, settings=_clean(settings)), kept


def eres2netv2_from_official(
    tensors: Mapping[str, Array],
) -> tuple[SpeakerConfig, dict[str, Array]]:
    """Return config and weights of an ERes2NetV2 state dict; all sizes come from the shapes.

    Raises:
        CheckpointError: If a tensor is missing.
    """
    weights: dict[str, Array] = {}
    for official, tensor in tensors.items():
        if not _ERES2NETV2_UNUSED.match(official):
            weights[_eres2netv2_name(official)] = tensor
    _require(weights, "stages.3.0.groups.0.conv.weight", "ERes2NetV2")
    channels = weights["stem.conv.weight"].shape[0]
    outputs = weights["fusion.expand.weight"].shape[0]
    stages = [
        [weights[f"stages.{stage}.0.groups.0.conv.weight"].shape[0], _count(weights, stage)]
        for stage in range(4)
    ]
    settings = {
        "channels": channels,
        "expansion": weights["stages.0.0.exit.conv.weight"].shape[0] // channels,
        "scale": weights["stages.0.0.entry.conv.weight"].shape[0] // stages[0][0],
        "stages": stages,
    }
    dim = outputs * (_MEL_BINS // _HALVINGS)
    return SpeakerConfig(kind="eres2netv2", dim=dim, settings=settings), weights


def _eres2netv2_name(official: str) -> str:
    name = official
    for pattern, replacement in _ERES2NETV2_RULES:
        name = re.sub(pattern, replacement, name)
    return name


def _count(weights: Mapping[str, Array], stage: int) -> int:
    prefix = f"stages.{stage}."
    return 1 + max(int(n.split(".")[2]) for n in weights if n.startswith(prefix))


def _modern_weight_norm(name: str) -> str:
    """Rename what torch's old weight norm stored to what its parametrization stores."""
    name = re.sub(r"\.weight_g$", ".parametrizations.weight.original0", name)
    return re.sub(r"\.weight_v$", ".parametrizations.weight.original1", name)


def _clean(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Drop what only describes the file (class names, tool versions, where it came from)."""
    unwanted = ("architectures", "transformers_version", "torch_dtype", "dtype", "auto_map")
    return {k: v for k, v in settings.items() if k not in unwanted and not k.startswith("_")}


def _require(weights: Mapping[str, Array], name: str, kind: str) -> None:
    if name not in weights:
        raise CheckpointError(f"the {kind} weights have no tensor {name}")
