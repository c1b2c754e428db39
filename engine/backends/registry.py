"""Backends by name; a backend's packages are imported only when it is chosen.

There is no fallback: a backend that cannot run here is an error that says what to install.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from engine.backends.base import Backend
from engine.errors import BackendUnavailable, InvalidParameter
from engine.pack import Pack


class BackendOptions(Protocol):
    """What a backend needs to know beside the pack; `EngineConfig` has it."""

    @property
    def num_slots(self) -> int:
        """Sentences decoded at once."""
        ...

    @property
    def max_positions(self) -> int:
        """Phonemes + tokens one slot holds."""
        ...

    @property
    def precision(self) -> str:
        """Of the T2S stage, for backends with a choice: fp32, int8, or auto, what is fastest."""
        ...

    @property
    def semantic_threads(self) -> int:
        """CPU threads of the T2S stage."""
        ...

    @property
    def acoustic_threads(self) -> int:
        """CPU threads of the acoustic stage."""
        ...

    @property
    def prefill_threads(self) -> int:
        """CPU threads of prefill, where that is not another call of the T2S's own network."""
        ...


@dataclass(frozen=True, slots=True)
class BackendEntry:
    """Where a backend lives and how to get what it needs.

    Attributes:
        module: Has `create(pack, options) -> Backend`.
        packages: Its import names, checked one by one.
        install: The command that brings them.
        distribution: What has to be installed where another brings the same import name.
    """

    module: str
    packages: tuple[str, ...]
    install: str
    distribution: str = ""


BACKENDS: Mapping[str, BackendEntry] = {
    "auto": BackendEntry(
        "engine.backends.auto_backend", ("onnxruntime",), "pip install onnxruntime"
    ),
    "onnxruntime": BackendEntry(
        "engine.backends.onnx_backend", ("onnxruntime",), "pip install onnxruntime"
    ),
    "onnxruntime_cuda": BackendEntry(
        "engine.backends.onnx_cuda_backend",
        ("onnxruntime",),
        "pip install onnxruntime-gpu",
        distribution="onnxruntime-gpu",
    ),
    "openvino": BackendEntry(
        "engine.backends.openvino_backend",
        ("openvino", "onnx"),
        "pip install 'sovits-live[openvino]'",
    ),
    "tensorrt": BackendEntry(
        "engine.backends.tensorrt_backend",
        ("tensorrt", "cuda.bindings", "onnx"),
        "pip install tensorrt 'sovits-live[gpu]'",
    ),
    "tensorrt_rtx": BackendEntry(
        "engine.backends.tensorrt_rtx_backend",
        ("tensorrt_rtx", "cuda.bindings", "onnx"),
        "pip install 'sovits-live[gpu]'",
    ),
    "torch": BackendEntry(
        "engine.backends.torch_backend",
        ("torch", "transformers"),
        "pip install 'sovits-live[torch]'",
    ),
}


def create_backend(name: str, pack: Pack, options: BackendOptions) -> Backend:
    """Load a pack into the backend of that name.

    Raises:
        InvalidParameter: On an unknown name.
        BackendUnavailable: A package it needs is not installed here.
        CheckpointError: The pack does not fit.
    """
    check_available(name)
    backend: Backend = importlib.import_module(BACKENDS[name].module).create(pack, options)
    return backend


def check_available(name: str) -> None:
    """Return if the backend's packages can be imported here.

    Raises:
        InvalidParameter: On an unknown name.
        BackendUnavailable: Says which package is missing and how to get it.
    """
    if name not in BACKENDS:
        raise InvalidParameter("backend", name, ", ".join(sorted(BACKENDS)))
    entry = BACKENDS[name]
    for package in entry.packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise BackendUnavailable(
                f"the {name} backend needs {package}, which cannot be imported here ({error}); "
                f"install it with: {entry.install}"
            ) from error
