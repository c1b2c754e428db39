"""A pack's weights into its `onnx/` folder, with a manifest."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch

from engine.backends.torch_weights import load_weights
from engine.graph_weights import GraphWeights
from engine.manifest import FORMAT, ExportManifest, GraphRecord
from engine.models.acoustic import AcousticNetwork
from engine.models.t2s import T2S
from engine.pack import Pack, Part
from export.graphs import GraphSpec, acoustic_graphs, device_graphs, t2s_graphs
from export.quantize import quantize_weights
from export.reference_graphs import reference_graphs
from export.share_weights import WeightIndex
from export.to_onnx import export_graph

logger = logging.getLogger(__name__)

TOOLS = ("torch", "onnx", "onnxruntime")
# The T2S is bound by the bytes of its weights; BERT is 1.3 GB of them. Elsewhere 8 bits bring
# nothing.
QUANTIZED = ("prefill", "step", "bert")


def export_pack(
    pack: Pack,
    *,
    int8: bool = True,
    on_device: bool = False,
    on_graph: Callable[[GraphRecord], None] = lambda record: None,
) -> ExportManifest:
    """Write every graph of `pack` and check each against torch.

    The folder appears whole or not at all.

    Args:
        int8: Also write the 8-bit variants of the T2S graphs and of BERT.
        on_device: Also write the graphs of a KV cache that stays on a GPU.
        on_graph: Told of each graph as it is done.

    Raises:
        CheckpointError: The weights do not fit, or a graph's outputs are not torch's.
    """
    networks = _load(pack)
    weights = GraphWeights(pack)
    indices: dict[Part, WeightIndex] = {}
    target = pack.graphs_dir
    with tempfile.TemporaryDirectory(dir=pack.path, prefix=".onnx-") as name:
        folder = Path(name) / target.name
        folder.mkdir(mode=0o755)
        records: list[GraphRecord] = []
        for spec in _specs(pack, *networks, on_device=on_device):
            if spec.part not in indices:
                indices[spec.part] = WeightIndex(pack, (spec.part,))
            records.append(export_graph(spec, folder, indices[spec.part], weights))
            on_graph(records[-1])
            if int8 and spec.name in QUANTIZED:
                records.append(quantize_weights(spec, records[-1], folder, weights))
                on_graph(records[-1])
        t2s, acoustic = networks
        manifest = ExportManifest(
            format=FORMAT,
            pack_fingerprint=pack.fingerprint,
            tools={tool: version(tool) for tool in TOOLS},
            numbers={
                "flow_halo": acoustic.flow_halo,
                "decoder_halo": acoustic.decoder_halo,
                "source_rows": acoustic.source_rows,
            },
            graphs=tuple(records),
        )
        manifest.save(folder)
        if target.exists():
            target.rename(Path(name) / "old")
        folder.rename(target)
    return manifest


def _load(pack: Pack) -> tuple[T2S, AcousticNetwork]:
    """Return the networks, ready for inference."""
    t2s = T2S(pack.config.t2s)
    load_weights(t2s, pack.tensors(Part.T2S), Part.T2S)
    acoustic = AcousticNetwork(pack.config.acoustic)
    load_weights(acoustic, pack.tensors(Part.ACOUSTIC), Part.ACOUSTIC)
    acoustic.prepare_inference()
    return t2s.eval().requires_grad_(False), acoustic


def _specs(pack: Pack, t2s: T2S, acoustic: AcousticNetwork, *, on_device: bool) -> list[GraphSpec]:
    torch.set_num_threads(1)  # small graphs; more threads only get in each other's way
    return [
        *t2s_graphs(t2s, pack.config),
        *(device_graphs(t2s, pack.config) if on_device else ()),
        *acoustic_graphs(acoustic),
        *reference_graphs(pack),
    ]
