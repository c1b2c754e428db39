"""Each defect of a reference is found, alone, with advice."""

from __future__ import annotations

import numpy as np
import pytest

from engine.audio.reference_checks import Problem, check_reference
from engine.types import FloatArray
from tests.speechlike import noise, silence, speechlike

RATE = 32000


def _good() -> FloatArray:
    wave = np.concatenate(
        [silence(0.3), speechlike(2.5), silence(0.4), speechlike(2), silence(0.3)]
    )
    return wave + noise(5.5, level=0.0005)


def test_good_reference_has_no_findings() -> None:
    """A clean five-second recording passes, and its figures are right."""
    report = check_reference(_good(), RATE)
    assert report.findings == () and report.fatal is None
    assert report.duration_s == pytest.approx(5.5)
    assert report.speech_s == pytest.approx(4.5, abs=0.6)
    assert report.snr_db > 30


@pytest.mark.parametrize(
    ("wave", "problem", "is_fatal", "advice"),
    [
        (speechlike(2), Problem.TOO_SHORT, True, "record 3 to 10 s"),
        (speechlike(12), Problem.TOO_LONG, True, "cut it to 3 to 10 s"),
        (silence(5), Problem.SILENT, True, "microphone"),
        (_good() * np.float32(0.03), Problem.TOO_QUIET, False, "closer to the microphone"),
        (
            np.concatenate([silence(2), speechlike(1), silence(2)]),
            Problem.LITTLE_SPEECH,
            True,
            "at least 1.5 s",
        ),
        (np.clip(_good() * 8, -1, 1), Problem.CLIPPED, False, "lower level"),
        (_good() + noise(5.5, level=0.03), Problem.NOISY, False, "--denoise"),
    ],
    ids=lambda value: str(value) if isinstance(value, Problem) else "",
)
def test_each_problem_is_found(
    wave: FloatArray, problem: Problem, is_fatal: bool, advice: str
) -> None:
    """One defect gives one finding, fatal where no voice can come of it."""
    report = check_reference(wave, RATE)
    assert [f.problem for f in report.findings] == [problem]
    assert report.findings[0].is_fatal is is_fatal
    assert (report.fatal is not None) is is_fatal
    assert advice in report.findings[0].message


def test_noise_alone_is_fatal() -> None:
    """A recording of nothing but noise cannot become a voice."""
    assert check_reference(noise(5, level=0.1), RATE).fatal is not None
