"""Is a recording good enough to be a reference? Each finding says what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from engine.audio.loudness import integrated_loudness
from engine.audio.vad import find_speech
from engine.types import FloatArray

MIN_S = 3.0  # upstream refuses others than 3 to 10 s (TTS.py:815 @48b1a01)
MAX_S = 10.0
MIN_SPEECH_S = 1.5
_SILENT_LUFS = -60.0
_QUIET_LUFS = -45.0
_CLIP_LEVEL = 0.999
_CLIP_RUN = 3  # samples in a row at full scale
_CLIPPED_SHARE = 0.001
_POOR_SNR_DB = 15.0
_BAD_SNR_DB = 6.0


class Problem(StrEnum):
    """What can be wrong with a reference."""

    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    SILENT = "silent"
    TOO_QUIET = "too_quiet"
    LITTLE_SPEECH = "little_speech"
    CLIPPED = "clipped"
    NOISY = "noisy"


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem; a fatal one keeps the recording from becoming a voice."""

    problem: Problem
    is_fatal: bool
    message: str


@dataclass(frozen=True, slots=True)
class ReferenceReport:
    """Measurements of a reference and what follows from them."""

    duration_s: float
    speech_s: float
    peak: float
    loudness_lufs: float
    snr_db: float  # speech against pauses; an estimate
    clipped_share: float
    findings: tuple[Finding, ...]

    @property
    def fatal(self) -> Finding | None:
        """The first finding that rules the recording out."""
        return next((finding for finding in self.findings if finding.is_fatal), None)


def check_reference(samples: FloatArray, sample_rate_hz: int) -> ReferenceReport:
    """Measure a mono wave, float32 [N], as it will be used."""
    speech = find_speech(samples, sample_rate_hz)
    loudness = integrated_loudness(samples, sample_rate_hz)
    measured = ReferenceReport(
        duration_s=len(samples) / sample_rate_hz,
        speech_s=speech.speech_samples / sample_rate_hz,
        peak=float(np.abs(samples).max(initial=0.0)),
        loudness_lufs=loudness,
        snr_db=speech.speech_db - speech.noise_db,
        clipped_share=_clipped_share(samples),
        findings=(),
    )
    checks = (_check_length, _check_level, _check_speech, _check_clipping, _check_noise)
    findings = [found for check in checks for found in check(measured)]
    if any(found.problem is Problem.SILENT for found in findings):
        findings = [f for f in findings if f.problem in (Problem.SILENT, Problem.TOO_SHORT)]
    return ReferenceReport(
        measured.duration_s,
        measured.speech_s,
        measured.peak,
        measured.loudness_lufs,
        measured.snr_db,
        measured.clipped_share,
        tuple(findings),
    )


def _check_length(report: ReferenceReport) -> list[Finding]:
    if report.duration_s < MIN_S:
        message = (
            f"{report.duration_s:.1f} s is too short; record {MIN_S:g} to {MAX_S:g} s of one "
            "person speaking without long pauses"
        )
        return [Finding(Problem.TOO_SHORT, True, message)]
    if report.duration_s > MAX_S:
        message = f"{report.duration_s:.1f} s is too long; cut it to {MIN_S:g} to {MAX_S:g} s"
        return [Finding(Problem.TOO_LONG, True, message)]
    return []


def _check_level(report: ReferenceReport) -> list[Finding]:
    if report.loudness_lufs < _SILENT_LUFS:
        message = "it is silent; check that the right microphone or track was recorded"
        return [Finding(Problem.SILENT, True, message)]
    if report.loudness_lufs < _QUIET_LUFS:
        message = (
            f"{report.loudness_lufs:.0f} LUFS is very quiet; record closer to the microphone or "
            "raise the recording level to about -20 LUFS"
        )
        return [Finding(Problem.TOO_QUIET, False, message)]
    return []


def _check_speech(report: ReferenceReport) -> list[Finding]:
    if report.speech_s >= MIN_SPEECH_S:
        return []
    message = (
        f"only {report.speech_s:.1f} s of it is speech; at least {MIN_SPEECH_S:g} s are needed, "
        "better 3 s"
    )
    return [Finding(Problem.LITTLE_SPEECH, True, message)]


def _check_clipping(report: ReferenceReport) -> list[Finding]:
    if report.clipped_share <= _CLIPPED_SHARE:
        return []
    message = (
        f"{report.clipped_share:.1%} of its samples are clipped; the voice will sound distorted. "
        "Record again at a lower level"
    )
    return [Finding(Problem.CLIPPED, False, message)]


def _check_noise(report: ReferenceReport) -> list[Finding]:
    if report.snr_db >= _POOR_SNR_DB:
        return []
    verdict = "drowns the voice" if report.snr_db < _BAD_SNR_DB else "will be heard in the voice"
    message = (
        f"background noise {verdict} (speech is {report.snr_db:.0f} dB above it); record in a "
        "quieter room or try --denoise"
    )
    return [Finding(Problem.NOISY, report.snr_db < _BAD_SNR_DB, message)]


def _clipped_share(samples: FloatArray) -> float:
    """Return the share of samples in runs at the wave's own ceiling near or above full scale."""
    if not len(samples):
        return 0.0
    full = np.abs(samples) >= _CLIP_LEVEL
    edges = np.flatnonzero(np.diff(np.concatenate([[False], full, [False]]).astype(np.int8)))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= _CLIP_RUN].sum() / len(samples))
