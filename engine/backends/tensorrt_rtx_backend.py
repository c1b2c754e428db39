"""The TensorRT backend with TensorRT-RTX; see `tensorrt_backend`."""

from __future__ import annotations

from engine.backends.registry import BackendOptions
from engine.backends.tensorrt_backend import TensorrtBackend
from engine.pack import Pack


def create(pack: Pack, options: BackendOptions) -> TensorrtBackend:
    """Make the backend; the registry calls this."""
    return TensorrtBackend(pack, options, flavour="tensorrt_rtx")
