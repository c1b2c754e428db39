"""The T2S of the TensorRT backend over runtimes of the host: slots, cache, captured steps.

What a GPU would add is kernels; every address, shape and copy is the backend's own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.backends.onnx_semantic import OnnxSemantic
from engine.backends.onnx_session import open_session
from engine.backends.tensorrt_build import BuildRequest, profile_of
from engine.backends.tensorrt_device import Device, DeviceEngine
from engine.backends.tensorrt_graphs import inputs_of, ranges_of, whole_graph
from engine.backends.tensorrt_semantic import TensorrtSemantic, row_counts
from engine.errors import CheckpointError, EngineFailed, TextError
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest
from engine.noise import ExponentialDraws
from engine.pack import Pack
from engine.sampling import Draw, Sampler, choose
from engine.types import IntArray, SynthesisParams
from tests.host_cuda import HostCuda
from tests.host_tensorrt import SCRATCH_BYTES, RtxContext, host_tensorrt, write_engine
from tests.sampling_manners import MANNERS

SLOTS, POSITIONS = 5, 70
FLAVOURS = pytest.mark.parametrize("flavour", ["tensorrt", "tensorrt_rtx"])


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> HostCuda:
    return host_tensorrt(monkeypatch)[0]


def engines(pack: Pack, folder: Path, flavour: str, precision: str) -> list[DeviceEngine]:
    """Return prefill, step and choose as the backend makes them."""
    device, found = Device(), []
    for graph, limits, fixed in (
        ("prefill", {"phonemes": POSITIONS, "tokens": POSITIONS}, None),
        ("step_in_place", {"rows": SLOTS}, {"capacity": POSITIONS}),
        ("choose", {"rows": SLOTS}, None),
    ):
        path = folder / f"{graph}.onnx"
        onnx = whole_graph(pack, graph, path, precision=precision, fixed=fixed)
        profile = profile_of(inputs_of(onnx), ranges_of(graph, limits))
        request = BuildRequest(flavour, str(onnx), f"{onnx}.engine", (profile,))
        found.append(DeviceEngine(device, flavour, write_engine(request)))
    return found


def on_device(
    pack: Pack, folder: Path, flavour: str = "tensorrt_rtx", precision: str = "fp32"
) -> TensorrtSemantic:
    made = engines(pack, folder, flavour, precision)
    return TensorrtSemantic(pack.config.t2s, *made, num_slots=SLOTS, max_positions=POSITIONS)


def on_cpu(pack: Pack) -> OnnxSemantic:
    folder, weights = pack.path / "onnx", GraphWeights(pack)
    manifest = ExportManifest.load(folder, pack_fingerprint=pack.fingerprint)
    records = [manifest.record(graph, "fp32") for graph in ("prefill", "step")]
    prefill, step = (
        open_session(folder / r.file, threads=1, initializers=weights.load(r.weights))
        for r in records
    )
    sizes = {"num_slots": SLOTS, "max_positions": POSITIONS}
    return OnnxSemantic(pack.config.t2s, prefill, step, **sizes)


@pytest.mark.parametrize(
    ("slots", "counts"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (20, [1, 2, 4, 8, 16, 20])],
)
def test_a_step_is_captured_for_powers_of_two(slots: int, counts: list[int]) -> None:
    """And for all slots at once; nine captures for the 256 slots there may be."""
    assert row_counts(slots) == counts
    assert len(row_counts(256)) == 9


@FLAVOURS
@pytest.mark.parametrize(("precision", "error"), [("fp32", 1e-4), ("fp16", 0.02)])
def test_slots_hold_what_the_cpu_s_hold(
    cuda: HostCuda, micro: Pack, tmp_path: Path, flavour: str, precision: str, error: float
) -> None:
    """Slots are filled, stepped alone and together, rewound, released and filled again."""
    found, expected = on_device(micro, tmp_path, flavour, precision), on_cpu(micro)
    rng = np.random.default_rng(5)
    phonemes = [rng.integers(0, 500, size) for size in (30, 7, 18, 1, 40)]

    def fill(slot: int, text: int, prompt: int) -> None:
        one, two = (d.prefill(slot, phonemes[text], None, np.arange(prompt)) for d in both)
        np.testing.assert_allclose(one, two, atol=error)

    def step(slots: list[int], tokens: IntArray) -> None:
        one, two = (d.decode(slots, tokens) for d in both)
        assert one.dtype == np.float32 and one.shape == (len(slots), 65)
        np.testing.assert_allclose(one, two, atol=error)

    both = (found, expected)
    fill(2, 0, 0)
    fill(0, 1, 3)
    step([2], np.array([5]))
    step([0, 2], np.array([6, 7]))
    fill(4, 4, 9)
    for decoder in both:
        decoder.rewind(2, 2)
    step([4, 2, 0], np.array([8, 9, 10]))
    for decoder in both:
        decoder.release(2)
    fill(2, 3, 0)  # shorter than what lay there
    for count in range(8):
        step([0, 2, 4], np.array([count, count + 1, count + 2]))
    step([0], np.array([60]))


def test_a_slot_is_used_to_its_last_position(cuda: HostCuda, micro: Pack, tmp_path: Path) -> None:
    """Then refused, before anything is written; steps of others leave it as it is."""
    found, expected = on_device(micro, tmp_path), on_cpu(micro)
    for decoder in (found, expected):
        with pytest.raises(TextError, match="do not fit"):
            decoder.prefill(0, np.arange(POSITIONS), None, np.arange(0))
        decoder.prefill(0, np.arange(POSITIONS - 4), None, np.arange(2))
        decoder.prefill(1, np.arange(9), None, np.arange(2))
        decoder.decode([0], np.array([3]))
        decoder.decode([1, 0], np.array([3, 4]))
        with pytest.raises(EngineFailed, match="slot 0 is full"):
            decoder.decode([1, 0], np.array([3, 4]))
        for token in range(5):  # row 0 is computed too
            decoder.decode([1], np.array([token]))
        decoder.rewind(0, 1)
    one, two = (decoder.decode([0, 1], np.array([5, 6])) for decoder in (found, expected))
    np.testing.assert_allclose(one, two, atol=1e-4)


@FLAVOURS
def test_a_step_is_one_launch_between_two_copies(
    cuda: HostCuda, micro: Pack, tmp_path: Path, flavour: str
) -> None:
    """However many rows it has; nothing is allocated, captured or compiled by then."""
    decoder = on_device(micro, tmp_path, flavour)
    assert cuda.calls["cudaStreamBeginCapture"] == 2 * len(row_counts(SLOTS))  # step, choose
    for slot in range(SLOTS):
        decoder.prefill(slot, np.arange(20), None, np.arange(5))
    cuda.calls.clear()
    for slots in ([0], [0, 1], [1], [0, 1, 2, 3, 4]):
        decoder.decode(slots, np.arange(len(slots)))
    steps = 4
    assert cuda.calls == {
        "cudaMemcpyAsync": 2 * steps, "cudaGraphLaunch": steps, "cudaStreamSynchronize": steps,
    }  # fmt: skip


def test_a_step_and_its_choice_are_two_launches_and_three_copies(
    cuda: HostCuda, micro: Pack, tmp_path: Path
) -> None:
    """However many rows; the second is asked for while the first runs, the wait is one."""
    decoder = on_device(micro, tmp_path)
    for slot in range(SLOTS):
        decoder.prefill(slot, np.arange(20), None, np.arange(5))
    cuda.calls.clear()
    for slots in ([0], [1, 3], [0, 1, 2, 3, 4]):
        draws = [draw_of(seed, 0, SynthesisParams()) for seed in slots]
        decoder.choose(slots, np.arange(len(slots)), draws)
    steps = 3
    assert cuda.calls == {
        "cudaMemcpyAsync": 3 * steps, "cudaGraphLaunch": 2 * steps, "cudaStreamSynchronize": steps,
    }  # fmt: skip


def draw_of(seed: int, step: int, params: SynthesisParams) -> Draw:
    """Return a draw of the micro pack's vocabulary."""
    noise = ExponentialDraws(seed, 0, step, 65)
    return Draw(params, np.arange(seed % 9), step >= 11, noise)


@FLAVOURS
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_sentences_are_what_the_host_draws_of_the_same_logits(
    cuda: HostCuda, micro: Pack, tmp_path: Path, flavour: str, precision: str
) -> None:
    """Five side by side, each with its seed, prompt and parameters, to the last token."""
    chooser, decoder = (on_device(micro, tmp_path, flavour, precision) for _ in range(2))
    samplers = [
        [
            Sampler(params, np.arange(slot), vocab_size=65)
            for slot, params in enumerate(MANNERS[:SLOTS])
        ]
        for _ in range(2)
    ]
    last: dict[int, int] = {}
    for slot in range(SLOTS):
        ids, prompt = np.arange(9 + slot) * 7 % 500, np.arange(slot)
        for semantic, own in zip((chooser, decoder), samplers, strict=True):
            noise = ExponentialDraws(slot, 0, 0, 65)
            token = own[slot].draw(semantic.prefill(slot, ids, None, prompt), noise)
            assert token is not None
            last[slot] = token
    lengths = dict.fromkeys(range(SLOTS), 1)
    for step in range(1, 50):
        slots, tokens = list(last), np.array(list(last.values()))
        noise_of = [ExponentialDraws(slot, 0, step, 65) for slot in slots]
        pairs = list(zip(slots, noise_of, strict=True))
        draws = [samplers[0][slot].next_draw(noise) for slot, noise in pairs]
        choices = chooser.choose(slots, tokens, draws)
        rows = decoder.decode(slots, tokens)
        for (slot, noise), choice, row in zip(pairs, choices, rows, strict=True):
            expected = samplers[1][slot].draw(row, noise)
            assert samplers[0][slot].take(choice) == expected, (slot, step)
            last.pop(slot)
            if expected is not None:
                last[slot] = expected
                lengths[slot] += 1
        if not last:
            break
    assert max(lengths.values()) > 20, "sentences must be long enough to compare"


def test_a_choice_that_fails_changes_no_slot(
    cuda: HostCuda, micro: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The step was made; it is made again over the same positions."""
    found, expected = on_device(micro, tmp_path), on_cpu(micro)
    for decoder in (found, expected):
        decoder.prefill(0, np.arange(9), None, np.arange(2))
    draw = draw_of(1, 20, SynthesisParams())
    with monkeypatch.context() as broken:
        broken.setattr(found._device, "download", _fail)
        with pytest.raises(EngineFailed, match="cudaGraphLaunch"):
            found.choose([0], np.array([3]), [draw])
    (choice,) = found.choose([0], np.array([3]), [draw])
    assert choice == choose(expected.decode([0], np.array([3]))[0], draw)
    one, two = (decoder.decode([0], np.array([5])) for decoder in (found, expected))
    np.testing.assert_allclose(one, two, atol=1e-4)


@pytest.mark.parametrize(("precision", "item"), [("fp32", 4), ("fp16", 2)])
def test_the_memory_is_one_cache_and_one_scratch(
    cuda: HostCuda, micro: Pack, tmp_path: Path, precision: str, item: int
) -> None:
    """Whatever the number of captures: the cache as precise as the engine, 5 kB beside it."""
    made = engines(micro, tmp_path, "tensorrt_rtx", precision)
    before = cuda.free
    config = micro.config.t2s
    TensorrtSemantic(config, *made, num_slots=SLOTS, max_positions=POSITIONS)
    cache = 2 * config.num_layers * SLOTS * POSITIONS * config.hidden_dim * item
    numbers, logits = 3 * 256, SLOTS * config.vocab_size * 4
    chosen_of = 1536 + 512 + 5 * 256  # noise, seen and five parameters, each aligned
    chosen = 3 * 256
    step = cache + numbers + logits + SCRATCH_BYTES
    assert before - cuda.free == step + chosen_of + chosen + SCRATCH_BYTES


def test_a_device_that_is_full_says_so(cuda: HostCuda, micro: Pack, tmp_path: Path) -> None:
    """When it starts, not in the middle of a sentence."""
    made = engines(micro, tmp_path, "tensorrt_rtx", "fp16")
    cuda.free = 10_000
    with pytest.raises(EngineFailed, match="cudaMalloc failed: cudaErrorMemoryAllocation"):
        TensorrtSemantic(micro.config.t2s, *made, num_slots=SLOTS, max_positions=POSITIONS)


def test_a_step_that_fails_changes_no_slot(
    cuda: HostCuda, micro: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be asked again, for all rows or for some."""
    found, expected = on_device(micro, tmp_path), on_cpu(micro)
    for decoder in (found, expected):
        for slot in (0, 1):
            decoder.prefill(slot, np.arange(9 + slot), None, np.arange(2))
    with monkeypatch.context() as broken:
        broken.setattr(found._device, "launch", _fail)
        with pytest.raises(EngineFailed, match="cudaGraphLaunch"):
            found.decode([0, 1], np.array([3, 4]))
    for slots in ([0], [0, 1]):
        tokens = np.array([3, 4][: len(slots)])
        one, two = (decoder.decode(slots, tokens) for decoder in (found, expected))
        np.testing.assert_allclose(one, two, atol=1e-4)


def _fail(*given: object) -> None:
    raise EngineFailed("cudaGraphLaunch failed: cudaErrorUnknown")


def test_what_cannot_be_captured_is_enqueued(
    cuda: HostCuda,
    micro: Pack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """TensorRT-RTX can be asked; the log says that steps are slower then."""
    monkeypatch.setattr(RtxContext, "is_stream_capturable", lambda context, stream: False)
    found, expected = on_device(micro, tmp_path), on_cpu(micro)
    assert "step_in_place.onnx.engine is not captured" in caplog.text
    for decoder in (found, expected):
        decoder.prefill(0, np.arange(9), None, np.arange(2))
    one, two = (decoder.decode([0], np.array([3])) for decoder in (found, expected))
    np.testing.assert_allclose(one, two, atol=1e-4)
    assert cuda.calls["cudaGraphLaunch"] == 0


def test_an_engine_that_copies_its_cache_is_refused(
    cuda: HostCuda, micro: Pack, tmp_path: Path
) -> None:
    """At one address it would read what it is writing."""
    made = engines(micro, tmp_path, "tensorrt_rtx", "fp32")
    made[1].engine._written = {"key_0_now": "key_0"}
    with pytest.raises(CheckpointError, match="writes key_1 into memory of its own"):
        TensorrtSemantic(micro.config.t2s, *made, num_slots=SLOTS, max_positions=POSITIONS)


def test_more_slots_than_the_engine_has_rows_are_refused(
    cuda: HostCuda, micro: Pack, tmp_path: Path
) -> None:
    """By name, when the step of so many rows is made."""
    made = engines(micro, tmp_path, "tensorrt_rtx", "fp32")
    with pytest.raises(EngineFailed, match=r"tokens cannot be \[6\]"):
        TensorrtSemantic(micro.config.t2s, *made, num_slots=6, max_positions=POSITIONS)
