"""A CUDA device without torch: buffers, one stream, and TensorRT engines that run on them.

Not run on a GPU by this project yet: compiled by TensorRT-RTX, checked against the API of both
flavours, and run in tests over runtimes that stand for CUDA and TensorRT on the host
(`tests.host_cuda`, `tests.host_tensorrt`). `tensorrt_check` is the acceptance of a real one.
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.backends.tensorrt_build import load_flavour
from engine.errors import BackendUnavailable, CheckpointError, EngineFailed
from engine.types import Array

logger = logging.getLogger(__name__)
ALIGNMENT = 256  # bytes; TensorRT takes no tensor at another address


class Device:
    """The first CUDA device, one stream of it, and the memory it was asked for.

    What is still allocated when the device is let go goes back then.
    """

    def __init__(self) -> None:
        """Find the device.

        Raises:
            BackendUnavailable: No CUDA bindings, no driver or no device.
        """
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise BackendUnavailable(
                f"CUDA bindings cannot be imported here ({error}); install them with: pip install "
                "'sovits-live[gpu]'"
            ) from error
        self._cuda: Any = runtime
        status, count = runtime.cudaGetDeviceCount()
        if int(status) != 0 or not count:
            reason = status.name if int(status) else "the driver lists none"
            raise BackendUnavailable(
                f"no CUDA device can be used here ({reason}); check nvidia-smi, or choose the "
                "onnxruntime backend"
            )
        properties = self.call("cudaGetDeviceProperties", 0)
        self.name = bytes(properties.name).split(b"\0")[0].decode()
        self.capability = f"SM{properties.major}{properties.minor}"
        # It waits for nobody's default stream: a capture on it would fail if anybody used that.
        self.stream = self.call("cudaStreamCreateWithFlags", runtime.cudaStreamNonBlocking)
        self._held: set[int] = set()
        # Not at exit: the driver may be gone by then, and takes all of it back itself.
        weakref.finalize(self, _free_all, runtime, self._held).atexit = False

    def call(self, function: str, *arguments: object) -> Any:
        """Call the CUDA runtime and return what it gives beside its status.

        Raises:
            EngineFailed: Any status but success.
        """
        status, *values = getattr(self._cuda, function)(*arguments)
        if int(status) != 0:
            raise EngineFailed(f"{function} failed: {status.name}")
        return values[0] if len(values) == 1 else tuple(values)

    def allocate(self, num_bytes: int) -> int:
        """Return the address of zeroed memory."""
        address = int(self.call("cudaMalloc", max(num_bytes, 1)))
        self._held.add(address)
        self.call("cudaMemsetAsync", address, 0, max(num_bytes, 1), self.stream)
        return address

    def free(self, address: int) -> None:
        """Give memory back."""
        self._held.remove(address)
        self.call("cudaFree", address)

    def free_memory(self) -> int:
        """Return the bytes of the device that nobody has allocated."""
        return int(self.call("cudaMemGetInfo")[0])

    def upload(self, address: int, array: Array) -> None:
        """Copy a contiguous array to the device, in stream order.

        The array is free again on return only if it has 64 kB at most; CUDA has staged it then.
        """
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, kind, self.stream)

    def download(self, array: Array, address: int) -> None:
        """Copy from the device into a contiguous array and wait for it."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, kind, self.stream)
        self.synchronize()

    def copy_rows(self, target: Rows, source: Rows, width: int, height: int) -> None:
        """Copy `height` rows of `width` bytes within the device, in stream order."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        self.call(
            "cudaMemcpy2DAsync",
            target.address,
            target.pitch,
            source.address,
            source.pitch,
            width,
            height,
            kind,
            self.stream,
        )

    def synchronize(self) -> None:
        """Wait for all that was given to the stream."""
        self.call("cudaStreamSynchronize", self.stream)

    def capture(self, work: Callable[[], None]) -> Any:
        """Return `work` as an executable CUDA graph; addresses and shapes are fixed in it."""
        mode = self._cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", self.stream, mode)
        try:
            work()
        except BaseException:
            self._cuda.cudaStreamEndCapture(self.stream)  # what came before is what went wrong
            raise
        graph = self.call("cudaStreamEndCapture", self.stream)
        captured = self.call("cudaGraphInstantiate", graph, 0)
        self.call("cudaGraphDestroy", graph)
        return captured

    def launch(self, captured: Any) -> None:
        """Start a captured graph."""
        self.call("cudaGraphLaunch", captured, self.stream)


def _free_all(runtime: Any, held: set[int]) -> None:
    for address in held:
        runtime.cudaFree(address)


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of memory: the first one's address and the bytes from one to the next."""

    address: int
    pitch: int


class DeviceEngine:
    """A loaded engine; contexts and buffers are made by those who run it."""

    def __init__(self, device: Device, flavour: str, path: Path) -> None:
        """Load the engine.

        Raises:
            CheckpointError: It was built for another device or version.
        """
        trt = load_flavour(flavour)
        self.device = device
        self.path = path
        self._trt = trt
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self.engine = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self.engine is None:
            raise CheckpointError(
                f"{path.name} does not run on {device.name} ({device.capability}) with {flavour} "
                f"{trt.__version__}; remove it and it is built again"
            )
        names = [self.engine.get_tensor_name(i) for i in range(self.engine.num_io_tensors)]
        is_input = trt.TensorIOMode.INPUT
        self.inputs = [n for n in names if self.engine.get_tensor_mode(n) == is_input]
        self.outputs = [n for n in names if n not in self.inputs]

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return the type of an input or output."""
        dtype: np.dtype[Any] = np.dtype(self._trt.nptype(self.engine.get_tensor_dtype(name)))
        return dtype

    def context(self) -> Any:
        """Return a new execution context, with memory for the largest shapes there may be."""
        return self._ready(self.engine.create_execution_context())

    def scratch(self) -> Scratch:
        """Return memory that contexts of one shape can share, if they run one after the other."""
        num_bytes = int(self.engine.get_device_memory_size_for_profile_v2(0))
        return Scratch(self.device.allocate(num_bytes), num_bytes)

    def fixed_context(self, scratch: Scratch) -> Any:
        """Return a new execution context for one shape, which computes in `scratch`."""
        trt, config = self._trt, self.engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        if hasattr(trt, "DynamicShapesKernelSpecializationStrategy"):
            # TensorRT-RTX would make the kernels of this shape later, and capture stopgaps now.
            config.dynamic_shapes_kernel_specialization_strategy = (
                trt.DynamicShapesKernelSpecializationStrategy.EAGER
            )
        context = self._ready(self.engine.create_execution_context(config))
        context.set_device_memory(scratch.address, scratch.num_bytes)
        return context

    def _ready(self, context: Any) -> Any:
        if context is None or not context.set_optimization_profile_async(0, self.device.stream):
            raise EngineFailed(f"{self.path.name}: no execution context")
        return context

    def enqueue(self, context: Any) -> None:
        """Start a context on the device's stream."""
        if not context.execute_async_v3(self.device.stream):
            raise EngineFailed(f"{self.path.name} could not be started")


@dataclass(frozen=True, slots=True)
class Scratch:
    """Memory a context computes in."""

    address: int
    num_bytes: int


class FixedShape:
    """A graph at one shape, from and to addresses that stay: captured once, then launched."""

    def __init__(
        self,
        engine: DeviceEngine,
        shapes: Mapping[str, Sequence[int]],
        addresses: Mapping[str, int],
        scratch: Scratch,
    ) -> None:
        """Run it once and capture it.

        Args:
            shapes: Of every input.
            addresses: Of every input and output, aligned.

        Raises:
            EngineFailed: A shape outside the profile, or the device refuses.
        """
        self._engine = engine
        # Of its own: what was captured of a context is spoilt when that gets another shape.
        self._context = context = engine.fixed_context(scratch)
        for name in engine.inputs:
            if not context.set_input_shape(name, tuple(shapes[name])):
                raise EngineFailed(f"{engine.path.name}: {name} cannot be {list(shapes[name])}")
        for name in (*engine.inputs, *engine.outputs):
            if not context.set_tensor_address(name, addresses[name]):
                raise EngineFailed(f"{engine.path.name}: {name} cannot be at {addresses[name]:#x}")
        engine.enqueue(context)  # what a first run compiles or allocates must not be captured
        engine.device.synchronize()
        self._captured: Any = None
        if self._can_be_captured():
            self._captured = engine.device.capture(lambda: engine.enqueue(context))

    def run(self) -> None:
        """Start it, in stream order."""
        if self._captured is None:
            self._engine.enqueue(self._context)
        else:
            self._engine.device.launch(self._captured)

    def _can_be_captured(self) -> bool:
        asked = getattr(self._context, "is_stream_capturable", None)  # TensorRT-RTX alone has it
        if asked is None or asked(self._engine.device.stream):
            return True
        logger.warning("%s is not captured: every step is enqueued", self._engine.path.name)
        return False


class DeviceGraph:
    """A graph of varying lengths, fed from and read to the host, as an ONNX Runtime session is."""

    def __init__(self, engine: DeviceEngine) -> None:
        self._engine = engine
        self._context = engine.context()
        self._memory: dict[str, tuple[int, int]] = {}  # name -> address, bytes
        self._lock = threading.Lock()  # context and memory serve one lane at a time

    def get_inputs(self) -> list[_Named]:
        """Return the inputs in order, by name."""
        return [_Named(name) for name in self._engine.inputs]

    def run(self, names: None, inputs: Mapping[str, Array]) -> list[Array]:
        """Return all outputs in order."""
        del names
        with self._lock:
            self.enqueue(inputs)
            return [self.output(name) for name in self._engine.outputs]

    def enqueue(self, inputs: Mapping[str, Array]) -> None:
        """Upload the inputs and start; outputs stay on the device."""
        device, context = self._engine.device, self._context
        for name, array in inputs.items():
            dense = np.ascontiguousarray(array, self._engine.dtype(name))
            if not context.set_input_shape(name, dense.shape):
                raise EngineFailed(
                    f"{self._engine.path.name}: {name} of shape {list(dense.shape)} is outside its "
                    "profile"
                )
            address = self._reserve(name, dense.nbytes)
            device.upload(address, dense)
            # The copy reads pageable memory: wait before `dense` may go.
            device.synchronize()
            context.set_tensor_address(name, address)
        for name in self._engine.outputs:
            shape = tuple(context.get_tensor_shape(name))
            num_bytes = int(np.prod(shape)) * self._engine.dtype(name).itemsize
            context.set_tensor_address(name, self._reserve(name, num_bytes))
        self._engine.enqueue(context)

    def output(self, name: str) -> Array:
        """Return an output of the last run."""
        shape = tuple(self._context.get_tensor_shape(name))
        array = np.empty(shape, self._engine.dtype(name))
        self._engine.device.download(array, self._memory[name][0])
        return array

    def address(self, name: str) -> int:
        """Return where an output of the last run lies on the device."""
        return self._memory[name][0]

    def _reserve(self, name: str, num_bytes: int) -> int:
        address, held = self._memory.get(name, (0, 0))
        if num_bytes > held or not address:
            if address:
                self._engine.device.free(address)
            # An empty tensor needs an address too.
            address = self._engine.device.allocate(max(num_bytes, 1))
            self._memory[name] = (address, num_bytes)
        return address


@dataclass(frozen=True, slots=True)
class _Named:
    name: str
