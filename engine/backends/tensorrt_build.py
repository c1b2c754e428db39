"""Compiles one ONNX file to a TensorRT engine, in a process of its own.

One module for both flavours, which have the same API: `tensorrt` (engines for the GPU at hand) and
`tensorrt_rtx` (engines built without a GPU, made final where they run). Precision is that of the
ONNX file: networks are strongly typed.

As a program it reads a request, writes the engine and says on its last line what went wrong:

    python -m engine.backends.tensorrt_build REQUEST.json
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from engine.errors import BackendUnavailable, CheckpointError, InvalidParameter

FLAVOURS: Mapping[str, str] = {
    "tensorrt": "pip install tensorrt",
    "tensorrt_rtx": "pip install tensorrt-rtx-cu13",
}
Shape = tuple[int, ...]
_AXIS = re.compile(r"(?:(\d+)\*)?([a-z_]\w*)")


@dataclass(frozen=True, slots=True)
class Range:
    """What an engine must take on one axis: at least, best at, at most."""

    min: int
    opt: int
    max: int

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.opt <= self.max or self.max == 0:
            raise InvalidParameter("range", asdict(self), "0 <= min <= opt <= max, max > 0")


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """One engine to build.

    Attributes:
        profiles: One per bucket: input -> (min, opt, max) shape.
        capabilities: Compute capabilities such as "SM89" (TensorRT-RTX only); none: any it knows.
    """

    flavour: str
    onnx: str
    engine: str
    profiles: tuple[Mapping[str, tuple[Shape, Shape, Shape]], ...]
    capabilities: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return what `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Parse a request."""
        data: dict[str, Any] = json.loads(text)
        profiles: Any = tuple(
            {name: tuple(tuple(shape) for shape in shapes) for name, shapes in profile.items()}
            for profile in data.pop("profiles")
        )
        capabilities = tuple(data.pop("capabilities"))
        return cls(profiles=profiles, capabilities=capabilities, **data)


def load_flavour(name: str) -> Any:
    """Return the package of a flavour.

    Raises:
        InvalidParameter: Unknown flavour.
        BackendUnavailable: Not installed here; says how to get it.
    """
    if name not in FLAVOURS:
        raise InvalidParameter("flavour", name, ", ".join(FLAVOURS))
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BackendUnavailable(
            f"{name} cannot be imported here ({error}); install it with: {FLAVOURS[name]}"
        ) from error


def profile_of(
    inputs: Mapping[str, Sequence[int | str]], ranges: Mapping[str, Range]
) -> dict[str, tuple[Shape, Shape, Shape]]:
    """Return the shapes of every varying input from ranges of named axes.

    An axis has one name wherever it occurs, so keys, values and mask cannot disagree.

    Args:
        inputs: Shapes as in the ONNX file; a varying axis is a name or a multiple, "2*frames".

    Raises:
        InvalidParameter: An axis without a range.
    """
    profile = {}
    for name, dims in inputs.items():
        if all(isinstance(dim, int) for dim in dims):
            continue
        low, best, high = (
            tuple(_size(dim, ranges, end) for dim in dims) for end in ("min", "opt", "max")
        )
        profile[name] = (low, best, high)
    return profile


def check_profile(
    inputs: Mapping[str, Sequence[int | str]],
    profile: Mapping[str, tuple[Shape, Shape, Shape]],
) -> None:
    """Refuse a profile TensorRT would take and fail with later.

    TensorRT does not notice a key of 100 positions beside a value of 90.

    Raises:
        InvalidParameter: A varying input without shapes, a shape that does not fit its input, or
            two inputs that give one axis different sizes.
    """
    sizes: dict[tuple[str, int], tuple[int, str]] = {}
    for name, dims in inputs.items():
        if name not in profile:
            if any(isinstance(dim, str) for dim in dims):
                raise InvalidParameter("profile", sorted(profile), f"shapes for {name!r}")
            continue
        for end, shape in enumerate(profile[name]):
            if len(shape) != len(dims):
                raise InvalidParameter(f"profile[{name!r}]", shape, f"{len(dims)} axes: {dims}")
            for dim, size in zip(dims, shape, strict=True):
                factor, axis = _axis(dim)
                if not axis:
                    if size != dim:
                        raise InvalidParameter(f"profile[{name!r}]", shape, f"{list(dims)}")
                    continue
                known, other = sizes.setdefault((axis, end), (size // factor, name))
                if known * factor != size:
                    valid = f"{axis} = {known * factor // factor}, as {other!r} has it"
                    raise InvalidParameter(f"profile[{name!r}]", shape, valid)


def compile_engine(request: BuildRequest) -> int:
    """Build the engine of a request and write it; return its size in bytes.

    Raises:
        CheckpointError: The graph cannot be parsed or compiled; carries TensorRT's own words.
        InvalidParameter: A profile that does not fit the graph.
        BackendUnavailable: The flavour is not installed.
    """
    trt = load_flavour(request.flavour)
    messages: list[str] = []
    builder = trt.Builder(_collecting(trt, messages))
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, builder.logger)
    if not parser.parse_from_file(request.onnx):
        found = "; ".join(_parse_error(parser.get_error(i)) for i in range(parser.num_errors))
        raise CheckpointError(f"{request.flavour} cannot parse {request.onnx}: {found}")
    config = builder.create_builder_config()
    _set_capabilities(trt, config, request.capabilities)
    for shapes in request.profiles:
        _check_network(network, shapes)
        profile = builder.create_optimization_profile()
        for name, (low, best, high) in shapes.items():
            profile.set_shape(name, low, best, high)
        config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        found = "; ".join(messages[-3:]) or "no reason given"
        raise CheckpointError(f"{request.flavour} cannot compile {request.onnx}: {found}")
    blob = bytes(engine)
    Path(request.engine).write_bytes(blob)
    return len(blob)


def _parse_error(error: Any) -> str:
    """Return what went wrong, where: of an operator TensorRT lacks it says no more than "false"."""
    operator: str = error.node_operator()
    return f"{operator}: {error.desc()}" if operator else str(error.desc())


def _collecting(trt: Any, messages: list[str]) -> Any:
    """Return a logger that keeps errors: a build that fails returns None and nothing else."""

    class Collecting(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                messages.append(message)

    return Collecting()


def _set_capabilities(trt: Any, config: Any, capabilities: Sequence[str]) -> None:
    if not capabilities:
        return
    config.num_compute_capabilities = len(capabilities)
    for index, name in enumerate(capabilities):
        found = getattr(trt.ComputeCapability, name, None)
        if found is None:
            known = [c for c in dir(trt.ComputeCapability) if c.startswith("SM")]
            raise InvalidParameter("capabilities", name, ", ".join(known))
        config.set_compute_capability(found, index)


def _check_network(network: Any, shapes: Mapping[str, tuple[Shape, Shape, Shape]]) -> None:
    inputs: dict[str, list[int | str]] = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        dims = tuple(tensor.shape)
        names = [tensor.get_dimension_name(axis) for axis in range(len(dims))]
        inputs[tensor.name] = [
            (name or f"{tensor.name}_{axis}") if size < 0 else int(size)
            for axis, (size, name) in enumerate(zip(dims, names, strict=True))
        ]
    check_profile(inputs, shapes)


def _axis(dim: int | str) -> tuple[int, str]:
    """Return factor and name of an axis; no name for a fixed one."""
    if isinstance(dim, int):
        return 1, ""
    match = _AXIS.fullmatch(dim.replace(" ", ""))
    return (int(match[1] or 1), match[2]) if match else (1, dim)


def _size(dim: int | str, ranges: Mapping[str, Range], end: str) -> int:
    factor, axis = _axis(dim)
    if isinstance(dim, int):
        return dim
    if axis not in ranges:
        raise InvalidParameter("ranges", sorted(ranges), f"a range for axis {axis!r}")
    size: int = getattr(ranges[axis], end)
    return factor * size


def main(path: str) -> int:
    """Carry out the request in a file."""
    try:
        request = BuildRequest.from_json(Path(path).read_text(encoding="utf-8"))
        compile_engine(request)
    except (CheckpointError, InvalidParameter, BackendUnavailable) as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
