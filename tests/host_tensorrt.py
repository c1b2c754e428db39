"""The runtime half of TensorRT over ONNX Runtime, beside `tests.host_cuda`.

An "engine" is the ONNX file that would have been compiled and its profiles. What TensorRT demands
is demanded: shapes within the profile, an address of 256 bytes for every tensor, memory for a
context that has none of its own, a cache updated at the address it is read from, and a context left
alone once it was captured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from engine.backends.tensorrt_build import BuildRequest
from engine.backends.tensorrt_cache import EngineCache
from tests.host_cuda import HostCuda

Profile = dict[str, list[list[int]]]
SCRATCH_BYTES = 4096


class Mode(Enum):
    """Of a tensor."""

    INPUT = 0
    OUTPUT = 1


class Allocation(Enum):
    """Of what a context computes in."""

    STATIC = 0
    USER_MANAGED = 2


class Specialization(Enum):
    """When TensorRT-RTX makes the kernels of a shape."""

    LAZY = 0
    EAGER = 1


class RuntimeConfig:
    """What a context is made with."""

    def __init__(self) -> None:
        self.allocation = Allocation.STATIC
        self.dynamic_shapes_kernel_specialization_strategy = Specialization.LAZY

    def set_execution_context_allocation_strategy(self, strategy: Allocation) -> None:
        self.allocation = strategy


class Engine:
    """A graph, loaded."""

    def __init__(self, cuda: HostCuda, flavour: str, blob: bytes) -> None:
        head, _, body = blob.partition(b"\n")
        self.cuda, self.flavour = cuda, flavour
        self.profiles: list[Profile] = json.loads(head)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3  # in half precision it copies the cache, and says so
        self.session = ort.InferenceSession(body, options, providers=["CPUExecutionProvider"])
        graph = onnx.load_from_string(body).graph
        self._written = {
            node.output[0]: node.input[0] for node in graph.node if node.op_type == "TensorScatter"
        }
        self.values = {v.name: v for v in (*self.session.get_inputs(), *self.session.get_outputs())}
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]
        self.num_io_tensors = len(self.values)

    def get_tensor_name(self, index: int) -> str:
        return list(self.values)[index]

    def get_tensor_mode(self, name: str) -> Mode:
        return Mode.INPUT if name in self.inputs else Mode.OUTPUT

    def get_tensor_dtype(self, name: str) -> np.dtype[Any]:
        kinds = {"float": "float32", "float16": "float16", "int64": "int64", "bool": "bool"}
        return np.dtype(kinds[self.values[name].type.removeprefix("tensor(").rstrip(")")])

    def get_aliased_input_tensor(self, name: str) -> str | None:
        return self._written.get(name)

    def get_device_memory_size_for_profile_v2(self, index: int) -> int:
        assert 0 <= index < len(self.profiles)
        return SCRATCH_BYTES

    def create_runtime_config(self) -> RuntimeConfig:
        return RuntimeConfig()

    def create_execution_context(self, config: RuntimeConfig | None = None) -> Context:
        found = config or RuntimeConfig()
        if self.flavour == "tensorrt_rtx":
            return RtxContext(self, found)
        return Context(self, found)


class Context:
    """A graph with its shapes and addresses."""

    def __init__(self, engine: Engine, config: RuntimeConfig) -> None:
        self._engine, self._config = engine, config
        self._profile: int | None = None
        self._has_memory = config.allocation is Allocation.STATIC
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._found: dict[str, tuple[int, ...]] = {}

    def set_optimization_profile_async(self, index: int, stream: int) -> bool:
        self._profile = index
        return 0 <= index < len(self._engine.profiles)

    def set_device_memory(self, address: int, size: int) -> None:
        self._engine.cuda.check(address, size)
        self._has_memory = size >= SCRATCH_BYTES

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        assert self._profile is not None
        limits = self._engine.profiles[self._profile].get(name)
        low = limits[0] if limits else self._engine.values[name].shape
        high = limits[2] if limits else low
        fits = len(shape) == len(low)
        if fits and all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True)):
            self._shapes[name] = tuple(shape)
            self._found.clear()
            return True
        return False

    def set_tensor_address(self, name: str, address: int) -> bool:
        self._addresses[name] = address
        return name in self._engine.values and address % 256 == 0

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        if name in self._shapes:
            return self._shapes[name]
        if not self._found:  # asking ONNX Runtime is to run it
            zeros = {n: np.zeros(s, self._dtype(n)) for n, s in self._shapes.items()}
            outputs = self._engine.session.run(None, zeros)
            self._found = {n: o.shape for n, o in zip(self._engine.outputs, outputs, strict=True)}
        return self._found[name]

    def execute_async_v3(self, stream: int) -> bool:
        engine, cuda = self._engine, self._engine.cuda
        if set(self._shapes) != set(engine.inputs) or set(self._addresses) != set(engine.values):
            return False
        assert self._has_memory, "a context without memory"
        if cuda.is_captured(stream) and engine.flavour == "tensorrt_rtx":
            eager = self._config.dynamic_shapes_kernel_specialization_strategy
            assert eager is Specialization.EAGER, "stopgap kernels would be captured"
        binding = engine.session.io_binding()
        for name, address in self._addresses.items():
            shape = self.get_tensor_shape(name)
            cuda.check(address, int(np.prod(shape)) * self._dtype(name).itemsize)
            bind = binding.bind_input if name in engine.inputs else binding.bind_output
            bind(name, "cpu", 0, self._dtype(name).type, shape, address)
        for name in engine.outputs:
            source = engine.get_aliased_input_tensor(name)
            assert source is None or self._addresses[source] == self._addresses[name], name
        cuda.start(stream, self._running(binding))
        return True

    def _running(self, binding: Any) -> Callable[[], None]:
        shapes, addresses = dict(self._shapes), dict(self._addresses)

        def run() -> None:
            assert (shapes, addresses) == (self._shapes, self._addresses), "captured, then changed"
            self._engine.session.run_with_iobinding(binding)

        return run

    def _dtype(self, name: str) -> np.dtype[Any]:
        return self._engine.get_tensor_dtype(name)


class RtxContext(Context):
    """Of TensorRT-RTX, which can be asked."""

    def is_stream_capturable(self, stream: int) -> bool:
        return True


def host_tensorrt(monkeypatch: pytest.MonkeyPatch) -> tuple[HostCuda, list[BuildRequest]]:
    """Put both flavours and CUDA in place of the real ones; return CUDA and what gets compiled."""
    cuda = HostCuda()
    bindings = ModuleType("cuda.bindings")
    monkeypatch.setattr(bindings, "runtime", cuda, raising=False)
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    for flavour in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, flavour, _flavour(cuda, flavour))
    built: list[BuildRequest] = []

    def build(cache: EngineCache, file: Path, graph: str, on_progress: object) -> None:
        request = BuildRequest.from_json(file.read_text(encoding="utf-8"))
        write_engine(request)
        built.append(request)

    monkeypatch.setattr(EngineCache, "_build", build)
    return cuda, built


def write_engine(request: BuildRequest) -> Path:
    """Write what `Engine` reads."""
    head = json.dumps([dict(profile) for profile in request.profiles]).encode()
    path = Path(request.engine)
    path.write_bytes(head + b"\n" + Path(request.onnx).read_bytes())
    return path


def _flavour(cuda: HostCuda, name: str) -> Any:
    def runtime(logger: object) -> SimpleNamespace:
        return SimpleNamespace(deserialize_cuda_engine=lambda blob: Engine(cuda, name, blob))

    def nptype(dtype: np.dtype[Any]) -> type[Any]:
        return dtype.type

    module: Any = ModuleType(name)
    module.__version__ = "0.host"
    module.Logger = lambda level: level
    module.Logger.ERROR = 1
    module.Runtime = runtime
    module.nptype = nptype
    module.TensorIOMode = Mode
    module.ExecutionContextAllocationStrategy = Allocation
    if name == "tensorrt_rtx":
        module.DynamicShapesKernelSpecializationStrategy = Specialization
    return module
