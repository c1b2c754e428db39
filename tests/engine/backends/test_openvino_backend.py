"""OpenVINO runs the decoder, in bfloat16 where the processor can; ONNX Runtime the rest."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.backends.onnx_backend import OnnxBackend
from engine.backends.onnx_session import open_session
from engine.backends.registry import create_backend
from engine.config import EngineConfig
from engine.errors import CheckpointError
from engine.pack import Pack
from tests.numerics import assert_close

pytest.importorskip("openvino")
CONFIG = EngineConfig(num_slots=1)
STYLE = np.linspace(-1, 1, 16, dtype=np.float32)


def test_its_audio_is_that_of_the_graphs(micro: Pack) -> None:
    """To what bfloat16 holds."""
    ours, expected = create_backend("openvino", micro, CONFIG), OnnxBackend(micro, CONFIG)
    said = ours.describe()
    assert said["backend"] == "openvino" and said["decoder_precision"] in ("bf16", "fp32")
    latent = np.random.default_rng(1).standard_normal((8, 21)).astype(np.float32)
    for frames in (1, 21):
        one, other = (b.acoustic.decoder(latent[:, :frames], STYLE) for b in (ours, expected))
        tolerance = 0.1 if said["decoder_precision"] == "bf16" else 1e-4
        assert_close(one, other, tolerance, "decoder")


def test_results_are_not_overwritten_by_the_next_call(micro: Pack) -> None:
    """Requests are used again; what was returned stays."""
    acoustic = create_backend("openvino", micro, CONFIG).acoustic
    first = acoustic.decoder(np.ones((8, 5), np.float32), STYLE)
    kept = first.copy()
    acoustic.decoder(np.zeros((8, 5), np.float32), STYLE)
    np.testing.assert_array_equal(first, kept)


def test_a_graph_it_cannot_read_is_named() -> None:
    """With OpenVINO's words."""
    from engine.backends.openvino_backend import compile_graph

    with pytest.raises(CheckpointError, match="OpenVINO cannot open graph flow: "):
        compile_graph(b"nonsense", "flow", threads=1, half=False)


def test_the_t2s_keeps_its_precision(micro: Pack) -> None:
    """It stays in ONNX Runtime, with the choice of int8."""
    said = create_backend("openvino", micro, replace(CONFIG, precision="int8")).describe()
    assert said["precision"].endswith("step int8")


def test_no_graph_is_opened_twice(micro: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime opens all but the decoder, whose weights are not held by both runtimes."""
    opened: list[str] = []

    def noted(path: Path, **options: Any) -> Any:
        opened.append(path.stem)
        return open_session(path, **options)

    monkeypatch.setattr("engine.backends.onnx_backend.open_session", noted)
    create_backend("openvino", micro, CONFIG)
    assert sorted(opened) == ["flow", "prefill", "prior", "step", "text"]


def test_a_signal_is_survived_after_another_thread_let_go() -> None:
    """OpenVINO's signal stack stays mapped.

    The whole suite used to end at a test of SIGTERM, without a summary: what an earlier test had
    compiled was destroyed in its engine's thread, and with it the main thread's signal stack.
    """
    code = """
        import faulthandler, os, signal, threading
        from engine.backends.openvino_backend import shared_core

        faulthandler.enable()  # as pytest does: handlers run on the signal stack
        held = [shared_core()]
        held[0].get_property("CPU", "OPTIMIZATION_CAPABILITIES")  # loads the plugin
        thread = threading.Thread(target=held.clear)
        thread.start()
        thread.join()
        signal.signal(signal.SIGTERM, lambda number, frame: print("handled"))
        os.kill(os.getpid(), signal.SIGTERM)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout) == (0, "handled\n"), done.stderr
