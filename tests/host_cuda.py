"""`cuda.bindings.runtime` over this process's memory: what the TensorRT backend asks of CUDA.

Stricter than CUDA where that leaves wrong numbers instead of an error: memory comes filled with
NaNs, a copy has to lie within one allocation, and nothing but work of a stream may happen while it
is captured. Copies are made at once, so a missing wait is not noticed.
"""

from __future__ import annotations

import ctypes
from collections import Counter
from collections.abc import Callable
from enum import IntEnum
from types import SimpleNamespace

import numpy as np

from engine.types import Array

Work = Callable[[], None]
_ALIGNMENT = 256
_TOTAL = 1 << 40


class Status(IntEnum):
    """Of the many, those that are given here."""

    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorStreamCaptureUnsupported = 900


class HostCuda:
    """See the module docstring.

    Attributes:
        calls: How often each function was called.
        free: Bytes left to allocate.
    """

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(
        cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2, cudaMemcpyDeviceToDevice=3
    )
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.free = _TOTAL
        self._memory: dict[int, tuple[Array, int]] = {}  # address -> what holds it, bytes
        self._streams = 0
        self._captured: dict[int, list[Work]] = {}  # stream -> what it was given meanwhile
        self._graphs: list[list[Work]] = []

    def cudaGetDeviceCount(self) -> tuple[Status, int]:
        return Status.cudaSuccess, 1

    def cudaGetDeviceProperties(self, device: int) -> tuple[Status, SimpleNamespace]:
        assert device == 0
        return Status.cudaSuccess, SimpleNamespace(name=b"Host\0\0", major=8, minor=9)

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[Status, int]:
        assert flags == self.cudaStreamNonBlocking
        self._streams += 1
        return Status.cudaSuccess, self._streams

    def cudaMemGetInfo(self) -> tuple[Status, int, int]:
        return Status.cudaSuccess, self.free, _TOTAL

    def cudaMalloc(self, size: int) -> tuple[Status, int]:
        self.calls["cudaMalloc"] += 1
        if self._captured:
            return Status.cudaErrorStreamCaptureUnsupported, 0
        if size > self.free:
            return Status.cudaErrorMemoryAllocation, 0
        holder = np.full(size + _ALIGNMENT, 0xFF, np.uint8)
        address = -(-holder.ctypes.data // _ALIGNMENT) * _ALIGNMENT
        self._memory[address] = holder, size
        self.free -= size
        return Status.cudaSuccess, address

    def cudaFree(self, address: int) -> tuple[Status]:
        self.calls["cudaFree"] += 1
        _, size = self._memory.pop(address)
        self.free += size
        return (Status.cudaSuccess,)

    def cudaMemsetAsync(self, address: int, value: int, size: int, stream: int) -> tuple[Status]:
        self.check(address, size)
        self.start(stream, lambda: ctypes.memset(address, value, size))
        return (Status.cudaSuccess,)

    def cudaMemcpyAsync(
        self, target: int, source: int, size: int, kind: int, stream: int
    ) -> tuple[Status]:
        self.calls["cudaMemcpyAsync"] += 1
        for address in {1: (target,), 2: (source,), 3: (target, source)}[kind]:
            self.check(address, size)
        self.start(stream, lambda: ctypes.memmove(target, source, size))
        return (Status.cudaSuccess,)

    def cudaMemcpy2DAsync(
        self,
        target: int,
        target_pitch: int,
        source: int,
        source_pitch: int,
        width: int,
        height: int,
        kind: int,
        stream: int,
    ) -> tuple[Status]:
        self.calls["cudaMemcpy2DAsync"] += 1
        assert kind == self.cudaMemcpyKind.cudaMemcpyDeviceToDevice
        assert width <= min(target_pitch, source_pitch)
        self.check(target, (height - 1) * target_pitch + width)
        self.check(source, (height - 1) * source_pitch + width)

        def copy() -> None:
            for row in range(height):
                ctypes.memmove(target + row * target_pitch, source + row * source_pitch, width)

        self.start(stream, copy)
        return (Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[Status]:
        self.calls["cudaStreamSynchronize"] += 1
        if stream in self._captured:
            return (Status.cudaErrorStreamCaptureUnsupported,)
        return (Status.cudaSuccess,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[Status]:
        self.calls["cudaStreamBeginCapture"] += 1
        assert mode == self.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._captured[stream] = []
        return (Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[Status, list[Work]]:
        return Status.cudaSuccess, self._captured.pop(stream)

    def cudaGraphInstantiate(self, graph: list[Work], flags: int) -> tuple[Status, list[Work]]:
        assert flags == 0
        return Status.cudaSuccess, list(graph)

    def cudaGraphDestroy(self, graph: list[Work]) -> tuple[Status]:
        graph.clear()
        return (Status.cudaSuccess,)

    def cudaGraphLaunch(self, graph: list[Work], stream: int) -> tuple[Status]:
        self.calls["cudaGraphLaunch"] += 1
        for work in graph:
            self.start(stream, work)
        return (Status.cudaSuccess,)

    def start(self, stream: int, work: Work) -> None:
        """Do some work, or note it while the stream is captured."""
        if stream in self._captured:
            self._captured[stream].append(work)
        else:
            work()

    def is_captured(self, stream: int) -> bool:
        """Tell whether a stream only notes what it is given."""
        return stream in self._captured

    def check(self, address: int, size: int) -> None:
        """Refuse what does not lie in one allocation."""
        for start, (_, held) in self._memory.items():
            if start <= address and address + size <= start + held:
                return
        raise AssertionError(f"{size} bytes at {address:#x} are not the device's")
