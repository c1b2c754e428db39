"""Choosing tokens on a device of the host, over the official vocabulary: what the host chooses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.backends.tensorrt_build import BuildRequest, profile_of
from engine.backends.tensorrt_choice import TensorrtChooser
from engine.backends.tensorrt_device import Device, DeviceEngine
from engine.backends.tensorrt_graphs import inputs_of, ranges_of, whole_graph
from engine.noise import ExponentialDraws
from engine.pack import load_pack
from engine.paths import BUNDLED, DEFAULT
from engine.sampling import Choice, Draw, choose
from engine.types import FloatArray, SynthesisParams
from tests.host_tensorrt import host_tensorrt, write_engine
from tests.sampling_manners import MANNERS

ROWS, VOCAB = 5, 1025


class Chooser:
    """The chooser with a memory of logits, as the step has it."""

    def __init__(self, folder: Path) -> None:
        device = Device()
        pack = load_pack(BUNDLED / DEFAULT)
        onnx = whole_graph(pack, "choose", folder / "choose.onnx", precision="fp16")
        profile = profile_of(inputs_of(onnx), ranges_of("choose", {"rows": ROWS}))
        request = BuildRequest("tensorrt_rtx", str(onnx), f"{onnx}.engine", (profile,))
        engine = DeviceEngine(device, "tensorrt_rtx", write_engine(request))
        self._device, self._logits = device, device.allocate(ROWS * VOCAB * 4)
        self._chooser = TensorrtChooser(
            engine, self._logits, vocab_size=VOCAB, row_counts=(1, 2, ROWS)
        )

    def choose(self, num_rows: int, logits: FloatArray, draws: dict[int, Draw]) -> list[Choice]:
        """Choose in some of the rows."""
        self._device.upload(self._logits, logits)
        return self._chooser.choose(num_rows, list(draws), list(draws.values()))


@pytest.fixture
def chooser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chooser:
    host_tensorrt(monkeypatch)
    return Chooser(tmp_path)


def logits_of(rng: np.random.Generator) -> FloatArray:
    """Return logits with ties, as half precision gives them, some of them at the top."""
    logits = (3 * rng.standard_normal((ROWS, VOCAB))).astype(np.float16).astype(np.float32)
    logits[:, rng.integers(VOCAB - 1, size=4)] = logits.max(1, keepdims=True) - 0.5
    return logits


def test_rows_that_come_and_go_choose_what_the_host_does(chooser: Chooser) -> None:
    """Whatever others have seen, or their place held before; each with parameters of its own."""
    rng = np.random.default_rng(3)
    tokens = set()
    for step in range(200):
        num_rows = (1, 2, ROWS)[step % 3]
        asked = rng.permutation(num_rows)[: rng.integers(1, num_rows + 1)].tolist()
        draws = {
            row: Draw(
                MANNERS[int(rng.integers(len(MANNERS)))],
                rng.permutation(VOCAB - 1)[: rng.integers(300)],
                bool(step % 2),
                ExponentialDraws(step, row, 0, VOCAB),
            )
            for row in asked
        }
        logits = logits_of(rng)
        found = chooser.choose(num_rows, logits, draws)
        assert found == [choose(logits[row], draw) for row, draw in draws.items()]
        tokens.update(choice.token for choice in found)
    assert len(tokens) > 100


def test_logits_that_are_not_finite_are_told_of_their_row_alone(chooser: Chooser) -> None:
    """NaN must not become a token."""
    logits = logits_of(np.random.default_rng(1))
    draw = Draw(SynthesisParams(), np.arange(9), True, ExponentialDraws(1, 0, 0, VOCAB))
    for bad in (np.nan, np.inf):
        logits[1, 7] = bad
        well, other = chooser.choose(2, logits, {0: draw, 1: draw})
        assert well == choose(logits[0], draw) and well.is_finite
        assert not other.is_finite
