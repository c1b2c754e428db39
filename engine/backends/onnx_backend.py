"""The ONNX Runtime backend: exported graphs, no torch in the process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import onnxruntime as ort

from engine.backends.base import SemanticDecoder
from engine.backends.calibration import calibrated_precision, has_exact_int8
from engine.backends.memory import gather, limit_arenas, trim
from engine.backends.onnx_acoustic import AcousticSizes, OnnxAcoustic
from engine.backends.onnx_reference import OnnxReference
from engine.backends.onnx_semantic import OnnxSemantic
from engine.backends.onnx_session import CPU, open_session
from engine.backends.registry import BackendOptions
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest, check_file
from engine.model_config import ModelConfig
from engine.pack import Pack

QUANTIZED_GRAPHS = ("prefill", "step", "bert")
ACOUSTIC_GRAPHS = ("text", "prior", "flow", "decoder")


class OnnxBackend:
    """See `Backend`."""

    def __init__(self, pack: Pack, options: BackendOptions, *, provider: str = CPU) -> None:
        """Open the graphs that speaking needs; those of enrolment open at their first use.

        Raises:
            CheckpointError: No graphs, or graphs of another pack, format or content.
        """
        limit_arenas()
        manifest = ExportManifest.load(pack.graphs_dir, pack_fingerprint=pack.fingerprint)
        self._provider = provider
        self.config: ModelConfig = pack.config
        self.notice = pack.notice

        self._precision: Mapping[str, str] = precision_of(manifest, "fp32")
        self.semantic = self._open_semantic(pack, manifest, options)
        self.acoustic = self._open_acoustic(pack, manifest, options)
        open_graph = graph_opener(pack, manifest)
        self.reference = OnnxReference(
            pack,
            lambda graph: open_graph(
                graph, options.semantic_threads, self._precision.get(graph, "fp32")
            ),
        )
        trim()
        gather()

    def _open_semantic(
        self, pack: Pack, manifest: ExportManifest, options: BackendOptions
    ) -> SemanticDecoder:
        """Return the T2S stage in the precision that is wanted, or that is fastest here."""
        open_graph = graph_opener(pack, manifest, self._provider)
        threads, precision = options.semantic_threads, options.precision
        if precision == "auto":
            precision = calibrated_precision(
                pack.path / "cache",
                manifest,
                lambda name: open_graph("step", threads, name),
                threads,
            )
        found = dict(precision_of(manifest, precision))
        if found["prefill"] == "int8" and not has_exact_int8():
            found["prefill"] = "fp32"
        self._precision = found
        return OnnxSemantic(
            pack.config.t2s,
            # Hundreds of rows, which every thread helps with; a step is bound by memory.
            open_graph("prefill", options.prefill_threads, found["prefill"]),
            open_graph("step", threads, self._precision["step"]),
            num_slots=options.num_slots,
            max_positions=options.max_positions,
        )

    def _open_acoustic(
        self, pack: Pack, manifest: ExportManifest, options: BackendOptions
    ) -> OnnxAcoustic:
        """Return the acoustic stage; another runtime's backend opens its own."""
        open_graph = graph_opener(pack, manifest, self._provider)
        threads = options.acoustic_threads
        graphs = {name: open_graph(name, threads) for name in ACOUSTIC_GRAPHS}
        return OnnxAcoustic(acoustic_sizes(pack.config, manifest), **graphs)

    def describe(self) -> dict[str, str]:
        """See `Backend.describe`."""
        return {
            "backend": "onnxruntime",
            "runtime": f"onnxruntime {ort.__version__}",
            "provider": self._provider,
            "device": "cpu" if self._provider == CPU else "cuda",
            "precision": ", ".join(f"{g} {p}" for g, p in self._precision.items()),
        }


def create(pack: Pack, options: BackendOptions) -> OnnxBackend:
    """Make the backend; the registry calls this."""
    return OnnxBackend(pack, options)


class OpenGraph(Protocol):
    """Opens a graph of a pack."""

    def __call__(self, graph: str, threads: int, precision: str = "fp32") -> ort.InferenceSession:
        """Check the file, give it its weights and open it."""
        ...


def graph_opener(pack: Pack, manifest: ExportManifest, provider: str = CPU) -> OpenGraph:
    """Return what opens the graphs of a pack."""
    weights = GraphWeights(pack)

    def open_graph(graph: str, threads: int, precision: str = "fp32") -> ort.InferenceSession:
        record = manifest.record(graph, precision)
        return open_session(
            check_file(pack.graphs_dir, record),
            threads=threads,
            provider=provider,
            initializers=weights.load(record.weights),
        )

    return open_graph


def precision_of(manifest: ExportManifest, wanted: str) -> Mapping[str, str]:
    """Return the precision of each graph with a choice: `wanted` where it was exported."""
    return {
        graph: wanted if wanted in found else "fp32"
        for graph in QUANTIZED_GRAPHS
        if (found := manifest.precisions(graph))
    }


def acoustic_sizes(config: ModelConfig, manifest: ExportManifest) -> AcousticSizes:
    """Return what the acoustic graphs do not say themselves."""
    acoustic, numbers = config.acoustic, manifest.numbers
    return AcousticSizes(
        sample_rate_hz=acoustic.sample_rate_hz,
        hop=acoustic.hop,
        latent_dim=acoustic.latent_dim,
        source_rows=numbers["source_rows"],
        flow_halo=numbers["flow_halo"],
        decoder_halo=numbers["decoder_halo"],
        drops_context="before" in manifest.record("decoder", "fp32").inputs,
        num_phonemes=acoustic.num_phonemes,
        codebook_size=acoustic.codebook_size,
    )
