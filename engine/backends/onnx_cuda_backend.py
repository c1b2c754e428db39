"""The ONNX Runtime backend on a CUDA device: the same graphs, the KV cache on the device.

Chosen by name, `onnxruntime_cuda`. ONNX Runtime itself falls back to the CPU without a word when
CUDA cannot be started; here that is an error. Not run on a GPU by this project yet.
"""

from __future__ import annotations

from engine.backends.onnx_backend import OnnxBackend, graph_opener
from engine.backends.onnx_device_semantic import OnnxDeviceSemantic
from engine.backends.registry import BackendOptions
from engine.manifest import ExportManifest
from engine.pack import Pack

CUDA = "CUDAExecutionProvider"


class OnnxCudaBackend(OnnxBackend):
    """See `Backend` and the module docstring."""

    def __init__(self, pack: Pack, options: BackendOptions) -> None:
        """Open the graphs on the device.

        Raises:
            BackendUnavailable: CUDA did not start.
            CheckpointError: As `OnnxBackend`, or the pack was not exported for a device.
        """
        super().__init__(pack, options, provider=CUDA)

    def _open_semantic(
        self, pack: Pack, manifest: ExportManifest, options: BackendOptions
    ) -> OnnxDeviceSemantic:
        """See `OnnxBackend`."""
        open_graph = graph_opener(pack, manifest, CUDA)
        prefill, step, fill = (
            open_graph(name, options.semantic_threads)
            for name in ("prefill", "step_in_place", "fill")
        )
        return OnnxDeviceSemantic(
            pack.config.t2s,
            prefill,
            step,
            fill,
            num_slots=options.num_slots,
            max_positions=options.max_positions,
        )


def create(pack: Pack, options: BackendOptions) -> OnnxCudaBackend:
    """Make the backend; the registry calls this."""
    return OnnxCudaBackend(pack, options)
