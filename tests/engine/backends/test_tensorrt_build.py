"""Every exported graph through TensorRT-RTX's compiler, which needs no GPU."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from engine.backends.tensorrt_build import (
    BuildRequest,
    Range,
    check_profile,
    compile_engine,
    load_flavour,
    profile_of,
)
from engine.backends.tensorrt_cache import EngineCache
from engine.backends.tensorrt_graphs import inputs_of, ranges_of, whole_graph
from engine.errors import BackendUnavailable, CheckpointError, InvalidParameter
from engine.pack import Pack

RTX = "tensorrt_rtx"
CACHE: list[int | str] = ["rows", 4, "past", 16]
STEP = {"mask": ["rows", "past"], "key_0": CACHE, "value_0": CACHE}
FIXED = {"step_in_place": {"capacity": 500}, "fill": {"capacity": 500}}
GRAPHS = [
    "prefill",
    "step",
    "step_in_place",
    "fill",
    "choose",
    "text",
    "prior",
    "flow",
    "decoder",
    "style",
    "codes",
    "ssl",
    "speaker",
]
LIMITS = {
    "ssl": {"frames": 200},
    "prefill": {"phonemes": 500, "tokens": 500},
    "fill": {"length": 500},
}


def test_one_name_of_an_axis_gives_one_size() -> None:
    """Keys, values and mask follow the same ranges; multiples are multiplied."""
    profile = profile_of(STEP, {"rows": Range(1, 2, 4), "past": Range(8, 16, 32)})
    assert profile["key_0"] == ((1, 4, 8, 16), (2, 4, 16, 16), (4, 4, 32, 16))
    assert profile["mask"] == ((1, 8), (2, 16), (4, 32))
    check_profile(STEP, profile)
    twice = profile_of({"mel": [1, 80, "2*frames"], "fixed": [3]}, {"frames": Range(1, 5, 9)})
    assert twice == {"mel": ((1, 80, 2), (1, 80, 10), (1, 80, 18))}


def test_an_axis_without_a_range_is_named() -> None:
    """Rather than left to TensorRT."""
    with pytest.raises(InvalidParameter, match="valid: a range for axis 'past'"):
        profile_of(STEP, {"rows": Range(1, 1, 1)})


def test_a_value_shorter_than_its_key_is_refused() -> None:
    """TensorRT builds such an engine and fails when it runs."""
    profile = profile_of(STEP, {"rows": Range(1, 1, 1), "past": Range(8, 50, 100)})
    profile["value_0"] = ((1, 4, 8, 16), (1, 4, 50, 16), (1, 4, 90, 16))
    with pytest.raises(InvalidParameter, match="past = 100, as 'mask' has it"):
        check_profile(STEP, profile)


def test_a_profile_must_cover_and_fit_every_input() -> None:
    """Missing inputs, wrong fixed axes and wrong ranks are named."""
    profile = profile_of(STEP, {"rows": Range(1, 1, 1), "past": Range(8, 8, 8)})
    with pytest.raises(InvalidParameter, match="valid: shapes for 'key_0'"):
        check_profile(STEP, {name: s for name, s in profile.items() if name != "key_0"})
    with pytest.raises(
        InvalidParameter, match=r"\(1, 5, 8, 16\), valid: \['rows', 4, 'past', 16\]"
    ):
        check_profile(STEP, {**profile, "key_0": ((1, 5, 8, 16),) * 3})
    with pytest.raises(InvalidParameter, match="valid: 4 axes"):
        check_profile(STEP, {**profile, "key_0": ((1, 4, 8),) * 3})
    with pytest.raises(InvalidParameter, match="min <= opt <= max"):
        Range(2, 1, 3)


def test_a_flavour_that_is_not_there_says_how_to_get_it() -> None:
    """Unknown ones name the known."""
    with pytest.raises(InvalidParameter, match="valid: tensorrt, tensorrt_rtx"):
        load_flavour("tensorflow")


def test_a_request_survives_its_file() -> None:
    """As the child process reads it."""
    request = BuildRequest(RTX, "a.onnx", "a.engine", ({"x": ((1,), (2,), (3,))},), ("SM89",))
    assert BuildRequest.from_json(json.loads(json.dumps(request.to_json()))) == request


@pytest.fixture(scope="session")
def rtx() -> str:
    """Skip where the compiler is not installed."""
    try:
        load_flavour(RTX)
    except BackendUnavailable as error:
        pytest.skip(str(error))
    return RTX


def request_of(pack: Pack, graph: str, folder: Path, precision: str) -> BuildRequest:
    path = folder / f"{graph}.onnx"
    onnx = whole_graph(pack, graph, path, precision=precision, fixed=FIXED.get(graph))
    profile = profile_of(inputs_of(onnx), ranges_of(graph, LIMITS.get(graph)))
    return BuildRequest(RTX, str(onnx), str(folder / f"{graph}.engine"), (profile,))


def engine_of(cache: EngineCache, request: BuildRequest) -> Path:
    """Return the engine of a file that is there already."""
    onnx = Path(request.onnx)
    profiles = tuple(dict(profile) for profile in request.profiles)
    return cache.engine(onnx.stem, "a", profiles, lambda target: shutil.copyfile(onnx, target))


@pytest.mark.aot
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("graph", GRAPHS)
def test_every_graph_compiles(
    rtx: str, micro: Pack, tmp_path: Path, graph: str, precision: str
) -> None:
    """Over the whole range of lengths it is served with, in one profile."""
    request = request_of(micro, graph, tmp_path, precision)
    size = compile_engine(request)
    assert size > 1000 and Path(request.engine).stat().st_size == size


@pytest.mark.aot
def test_a_graph_without_a_profile_is_refused(rtx: str, micro: Pack, tmp_path: Path) -> None:
    """In TensorRT's own words."""
    request = request_of(micro, "flow", tmp_path, "fp32")
    with pytest.raises(CheckpointError, match="no optimization profile has been defined"):
        compile_engine(BuildRequest(RTX, request.onnx, request.engine, ()))


@pytest.mark.aot
def test_mismatched_keys_and_values_are_refused(rtx: str, micro: Pack, tmp_path: Path) -> None:
    """By us: the compiler itself takes them."""
    request = request_of(micro, "step", tmp_path, "fp32")
    shapes = dict(request.profiles[0])
    shapes["value_1"] = tuple((*shape[:2], 90, shape[3]) for shape in shapes["value_1"])
    with pytest.raises(InvalidParameter, match=r"value_1.*past = "):
        compile_engine(BuildRequest(RTX, request.onnx, request.engine, (shapes,)))


def one_node(
    folder: Path,
    operator: str,
    inputs: Mapping[str, tuple[int, Sequence[int | str]]],
    result: int = 1,
    **attributes: int,
) -> Path:
    """Write a graph of one operator and return it; types are ONNX's numbers."""
    from onnx import helper, save

    values = [helper.make_tensor_value_info(name, *kind) for name, kind in inputs.items()]
    results = [helper.make_tensor_value_info("y", result, None)]
    node = helper.make_node(operator, list(inputs), ["y"], **attributes)
    graph = helper.make_graph([node], "g", values, results)
    opset = helper.make_opsetid("", 24)
    path = folder / "one.onnx"
    save(helper.make_model(graph, opset_imports=[opset], ir_version=10), path)
    return path


@pytest.mark.aot
@pytest.mark.parametrize(
    ("operator", "result"), [("NonZero", 7), ("Multinomial", 6), ("Bernoulli", 1), ("Unique", 1)]
)
def test_an_operator_it_does_not_know_is_named(
    rtx: str, tmp_path: Path, operator: str, result: int
) -> None:
    """What a sampler or a length mask could be tempted to use."""
    path = one_node(tmp_path, operator, {"x": (1, [1, 4])}, result)
    with pytest.raises(CheckpointError, match=f"(?i)cannot parse .*{operator}"):
        compile_engine(BuildRequest(RTX, str(path), str(tmp_path / "e"), ()))
    assert not (tmp_path / "e").exists()


@pytest.mark.aot
def test_a_cache_that_grows_is_not_updated_in_place(rtx: str, tmp_path: Path) -> None:
    """Its capacity has to be fixed before, see `whole_graph`."""
    path = one_node(
        tmp_path,
        "TensorScatter",
        {"cache": (1, [2, 4, "capacity", 16]), "rows": (1, [2, 4, 1, 16]), "length": (7, [2])},
        axis=2,
    )
    with pytest.raises(CheckpointError, match="must have a static sequence length"):
        compile_engine(BuildRequest(RTX, str(path), str(tmp_path / "e"), ()))


@pytest.mark.aot
def test_the_attention_operator_is_refused_in_float32(rtx: str, tmp_path: Path) -> None:
    """Over several positions; the reason why graphs are written at an opset without it."""
    inputs = {name: (1, [1, 4, 8, 16]) for name in ("query", "key", "value")}
    path = one_node(tmp_path, "Attention", inputs, is_causal=1)
    with pytest.raises(CheckpointError, match="cannot compile .*not supported by a dedicated"):
        compile_engine(BuildRequest(RTX, str(path), str(tmp_path / "e"), ()))


@pytest.mark.aot
def test_a_graph_without_its_weights_is_refused(rtx: str, micro: Pack, tmp_path: Path) -> None:
    """A pack's own file names its weights; only the whole copy can be compiled."""
    onnx = micro.path / "onnx" / "step.onnx"
    with pytest.raises(CheckpointError, match="cannot parse .*step.onnx: Failed to import init"):
        compile_engine(BuildRequest(RTX, str(onnx), str(tmp_path / "e"), ()))


@pytest.mark.aot
def test_an_engine_is_built_once(rtx: str, micro: Pack, tmp_path: Path) -> None:
    """In a child process; the second time it is only found."""
    request = request_of(micro, "codes", tmp_path, "fp32")
    cache = EngineCache(tmp_path / "engines", flavour=RTX)
    first = engine_of(cache, request)
    stamp = first.stat().st_mtime_ns
    assert engine_of(cache, request) == first
    assert first.stat().st_mtime_ns == stamp
    assert [path.suffix for path in first.parent.iterdir()] == [".engine"]


@pytest.mark.aot
def test_a_build_that_takes_too_long_is_stopped(rtx: str, micro: Pack, tmp_path: Path) -> None:
    """With its name and the limit; nothing is left behind."""
    request = request_of(micro, "decoder", tmp_path, "fp32")
    cache = EngineCache(tmp_path / "engines", flavour=RTX, timeout_s=0.05)
    with pytest.raises(CheckpointError, match="engine of decoder took over 0 s and was stopped"):
        engine_of(cache, request)
    assert not list((tmp_path / "engines").iterdir())


@pytest.mark.aot
def test_what_the_child_cannot_build_it_explains(rtx: str, micro: Pack, tmp_path: Path) -> None:
    """The last line of the child is the error's text."""
    request = request_of(micro, "flow", tmp_path, "fp32")
    with pytest.raises(CheckpointError, match="no tensorrt_rtx engine of flow: .*profile"):
        engine_of(EngineCache(tmp_path / "engines", flavour=RTX), replace(request, profiles=()))
