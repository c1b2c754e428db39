"""The TensorRT backend: the same graphs in fp16 on a GPU, enrolment in ONNX Runtime on the CPU.

Engines are built at the first start, each in a process of its own, and kept in the pack's cache
folder. Not run on a GPU by this project yet; see `tensorrt_device`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from engine.backends.onnx_acoustic import OnnxAcoustic
from engine.backends.onnx_backend import acoustic_sizes, graph_opener
from engine.backends.onnx_reference import OnnxReference
from engine.backends.registry import BackendOptions
from engine.backends.tensorrt_build import Range, load_flavour, profile_of
from engine.backends.tensorrt_cache import EngineCache
from engine.backends.tensorrt_device import Device, DeviceEngine, DeviceGraph
from engine.backends.tensorrt_graphs import graph_inputs, graph_key, ranges_of, whole_graph
from engine.backends.tensorrt_semantic import TensorrtSemantic
from engine.errors import CheckpointError
from engine.manifest import ExportManifest
from engine.model_config import ModelConfig
from engine.pack import Pack

logger = logging.getLogger(__name__)


class TensorrtBackend:
    """See `Backend`."""

    def __init__(
        self, pack: Pack, options: BackendOptions, *, flavour: str, precision: str = "fp16"
    ) -> None:
        """Build what is not built yet, and load.

        Raises:
            BackendUnavailable: No device, or a package is missing.
            CheckpointError: The pack was not exported for a GPU, or by an older version, or a graph
                cannot be compiled.
        """
        self._flavour, self._precision = flavour, precision
        self._version = str(load_flavour(flavour).__version__)
        self._device = Device()
        self.config: ModelConfig = pack.config
        self.notice = pack.notice
        manifest = ExportManifest.load(pack.graphs_dir, pack_fingerprint=pack.fingerprint)
        _check_export(pack, manifest)
        # TensorRT-RTX makes an engine final where it runs; the other one builds for this GPU only.
        self._engines = EngineCache(
            pack.path / "cache" / "tensorrt",
            flavour=flavour,
            device=f"{self._device.name} {self._device.capability}",
        )
        most = options.max_positions
        prompt = ranges_of("prefill", {"phonemes": most, "tokens": most})
        rows = ranges_of("step_in_place", {"rows": options.num_slots})
        self.semantic = TensorrtSemantic(
            pack.config.t2s,
            self._load(self._device, pack, "prefill", prompt),
            self._load(self._device, pack, "step_in_place", rows, {"capacity": most}),
            self._load(self._device, pack, "choose", rows),
            num_slots=options.num_slots,
            max_positions=most,
        )
        acoustic = Device()  # a stream of its own: steps and audio overlap, captures stay apart
        graphs = {
            name: DeviceGraph(self._load(acoustic, pack, name, ranges_of(name)))
            for name in ("text", "prior", "flow", "decoder")
        }
        self.acoustic = OnnxAcoustic(acoustic_sizes(pack.config, manifest), **graphs)
        open_graph = graph_opener(pack, manifest)
        self.reference = OnnxReference(
            pack, lambda graph: open_graph(graph, options.semantic_threads)
        )

    def describe(self) -> dict[str, str]:
        """See `Backend.describe`."""
        return {
            "backend": self._flavour,
            "runtime": f"{self._flavour} {self._version}",
            "device": f"{self._device.name} {self._device.capability}",
            "precision": self._precision,
        }

    def _load(
        self,
        device: Device,
        pack: Pack,
        graph: str,
        ranges: Mapping[str, Range],
        fixed: Mapping[str, int] | None = None,
    ) -> DeviceEngine:
        """Return an engine for axes within `ranges` and of the sizes of `fixed`."""
        precision = self._precision
        path = self._engines.engine(
            f"{graph}-{precision}",
            graph_key(pack, graph, precision=precision, fixed=fixed),
            (profile_of(graph_inputs(pack, graph, fixed), ranges),),
            lambda target: whole_graph(pack, graph, target, precision=precision, fixed=fixed),
            on_progress=lambda seconds: logger.info("compiling %s: %.0f s", graph, seconds),
        )
        return DeviceEngine(device, self._flavour, path)


def _check_export(pack: Pack, manifest: ExportManifest) -> None:
    """Refuse a pack without the graphs of a GPU, or with a `choose` that takes NaN for a token."""
    if not manifest.precisions("step_in_place"):
        found = "was exported for the CPU only"
    elif "is_finite" not in manifest.record("choose", "fp32").outputs:
        found = "was exported by an older version, whose tokens were drawn on the host"
    else:
        return
    raise CheckpointError(
        f"{pack.name} {found}; run: sovits-live export {pack.path} --for tensorrt"
    )


def create(pack: Pack, options: BackendOptions) -> TensorrtBackend:
    """Make the backend with enterprise TensorRT; the registry calls this."""
    return TensorrtBackend(pack, options, flavour="tensorrt")
