"""An inaudible mark in speech, by which whoever holds a key can tell that he spoke it.

The carrier is a periodic noise: a sine at every whole hertz of the band, its phase a function of
the key. It repeats every second, so a detector needs no clock, and it is defined by frequencies, so
it is the same at every sample rate. It is added to the speech 29 dB below it in each of 20
bands, which is where speech masks it:

    past speech ── power per band, every 10 ms ──> gains ┐
    key ──> carrier, split into bands ───────────────────┴── sum ── + ──> marked speech
                                              speech ───────────────┘

Gains are of samples that have passed, so nothing waits, and hops are counted from the start of the
stream, so the result does not depend on how it is cut. `watermark_detector.py` finds the mark.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from engine.audio.watermark_key import WatermarkKey
from engine.types import FloatArray

LOW_HZ, HIGH_HZ = 100, 7600  # speech, and what a recording at 16 kHz keeps of it
NUM_PHASES = HIGH_HZ + 1  # one for each whole hertz
NUM_BANDS = 20
HOP_S = 0.01
WINDOW_S = 0.02
# 1 dB less costs a tenth of every score, 1 dB more 0.03 of PESQ; bench watermark measures both.
_STRENGTH_DB = -29.0
_NYQUIST_SHARE = 0.475  # of a sample rate; resamplers take what is above


def _band_edges() -> NDArray[np.float64]:
    """Return NUM_BANDS + 1 frequencies in Hz, equal steps on the scale of the ear's filters.

    Source: Glasberg and Moore 1990, number of ERBs below a frequency.
    """
    low, high = (21.4 * np.log10(1 + 0.00437 * hz) for hz in (LOW_HZ, HIGH_HZ))
    edges = (10 ** (np.linspace(low, high, NUM_BANDS + 1) / 21.4) - 1) / 0.00437
    return np.asarray(edges, np.float64)


def band_weights(frequencies_hz: FloatArray) -> FloatArray:
    """Return float32 [NUM_BANDS, F]: how much each band is at each frequency; columns sum to 1."""
    edges = _band_edges()
    centres = np.sqrt(edges[:-1] * edges[1:])
    rows = [np.interp(frequencies_hz, centres, row) for row in np.eye(NUM_BANDS)]
    return np.stack(rows).astype(np.float32)


def top_hz(rate_hz: int) -> int:
    """Return the highest frequency that is marked at a sample rate."""
    return min(HIGH_HZ, int(rate_hz * _NYQUIST_SHARE))


class BandMeter:
    """Measures the power of short windows in each band.

    Attributes:
        num_samples: Length of a window, WINDOW_S.
    """

    def __init__(self, rate_hz: int) -> None:
        self.num_samples = round(rate_hz * WINDOW_S)
        self._size = 1 << (self.num_samples - 1).bit_length()
        window = np.hanning(self.num_samples + 1)[:-1]
        # Scaled so that a power is per hertz, whatever the sample rate.
        self._window = (window * np.sqrt(2 / (rate_hz * np.sum(window**2)))).astype(np.float32)
        last = self._size // 2
        bins = np.rint(_band_edges() * self._size / rate_hz).astype(int)
        self._bins = np.clip(bins, 1, last)
        self._counts = np.maximum(np.diff(self._bins), 1).astype(np.float32)

    def powers(self, frames: FloatArray) -> FloatArray:
        """Return float32 [H, NUM_BANDS], power per hertz, of float32 [H, num_samples]."""
        spectra = np.fft.rfft(frames * self._window, self._size, axis=1)
        power = (spectra.real**2 + spectra.imag**2)[:, : self._bins[-1] + 1]
        # reduceat gives a band narrower than a bin that bin, and the last one all that follows.
        power[:, -1] = 0.0
        sums = np.add.reduceat(power, self._bins[:-1], axis=1)
        return np.asarray(sums / self._counts, np.float32)


class Watermark:
    """The carrier of one key at one sample rate; all streams of a server share it.

    Attributes:
        hop_samples: How often gains are measured; between, they change in a straight line.
        carriers: float32 [hops of a second, NUM_BANDS, hop_samples]; in sum, power 1 per hertz.
        rise: float32 [hop_samples], the way from the last gain to the next, 0 to 1.
        strength: Amplitude of the mark over that of the speech.
    """

    def __init__(self, key: WatermarkKey, rate_hz: int) -> None:
        """Make it: 2 MB and some milliseconds at 24 kHz."""
        self.rate_hz = rate_hz
        wanted = round(rate_hz * HOP_S)
        # Whole hops to the second; 44.1 kHz and 22.05 kHz have 10 ms or nearly.
        divisors = (size for size in range(1, rate_hz + 1) if rate_hz % size == 0)
        self.hop_samples = min(divisors, key=lambda size: abs(size - wanted))
        self.meter = BandMeter(rate_hz)
        self.carriers = self._carriers(key)
        middle = (np.arange(self.hop_samples, dtype=np.float32) + 0.5) / self.hop_samples
        self.rise = middle.astype(np.float32)
        self.strength = np.float32(10 ** (_STRENGTH_DB / 20))

    def _carriers(self, key: WatermarkKey) -> FloatArray:
        """Return `carriers`."""
        hz = np.arange(LOW_HZ, top_hz(self.rate_hz) + 1)
        spectra = np.zeros((NUM_BANDS, self.rate_hz // 2 + 1), np.complex128)
        waves = np.exp(1j * key.phases(NUM_PHASES)[hz]) * (self.rate_hz / np.sqrt(2))
        spectra[:, hz] = band_weights(hz.astype(np.float32)) * waves
        carriers = np.fft.irfft(spectra, self.rate_hz, axis=1).astype(np.float32)
        by_hop = carriers.reshape(NUM_BANDS, -1, self.hop_samples).transpose(1, 0, 2)
        return np.ascontiguousarray(by_hop)

    def start(self) -> WatermarkStream:
        """Return a marker for a new stream."""
        return WatermarkStream(self)


class WatermarkStream:
    """Marks one stream, given in pieces of any size.

    The output does not depend on how the input is cut and has no delay. A sample that is 0 stays 0,
    and none leaves [-1, 1] that was in it.
    """

    def __init__(self, watermark: Watermark) -> None:
        self._watermark = watermark
        self._past: FloatArray = np.zeros(watermark.meter.num_samples, np.float32)
        self._gains: FloatArray = np.zeros((1, NUM_BANDS), np.float32)  # of the last hop begun
        self._rest: FloatArray = np.zeros(0, np.float32)  # of its mark
        self._num_hops = 0

    def process(self, samples: FloatArray) -> FloatArray:
        """Return float32 [N]: `samples`, float32 [N], with the mark in it."""
        assert samples.dtype == np.float32 and samples.ndim == 1
        if not len(samples):
            return samples
        # By the second: each hop takes a copy of its part of the carrier, 20 times as large.
        step = self._watermark.rate_hz
        pieces = [self._mark(samples[i : i + step]) for i in range(0, len(samples), step)]
        mark = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        room = np.maximum(np.float32(0), 1 - np.abs(samples))
        mark = np.where(samples == 0, np.float32(0), np.clip(mark, -room, room))
        return samples + mark

    def _mark(self, samples: FloatArray) -> FloatArray:
        """Return the mark of the next samples, float32 [N], N >= 1."""
        hop, width = self._watermark.hop_samples, len(self._past)
        known = np.concatenate([self._past, samples])
        self._past = known[-width:]
        begun = min(len(self._rest), len(samples))  # the part of a hop that is under way
        ready, self._rest = self._rest[:begun], self._rest[begun:]
        wanted = len(samples) - begun
        if not wanted:
            return ready
        # Each hop is made whole, of the window of samples before it.
        frames = sliding_window_view(known, width)[begun::hop][: -(-wanted // hop)]
        marks = self._hops(frames).reshape(-1)
        self._rest = marks[wanted:]
        return np.concatenate([ready, marks[:wanted]])

    def _hops(self, frames: FloatArray) -> FloatArray:
        """Return the marks of the next hops, float32 [H, hop_samples], of [H, window]."""
        mark = self._watermark
        gains = np.sqrt(mark.meter.powers(frames)) * mark.strength
        before = np.concatenate([self._gains, gains[:-1]])
        self._gains = gains[-1:]
        numbers = np.arange(self._num_hops, self._num_hops + len(frames)) % len(mark.carriers)
        self._num_hops += len(frames)
        # One product of a fixed shape for each hop: larger ones may round differently.
        ends = np.matmul(np.stack([before, gains], axis=1), mark.carriers[numbers])
        return np.asarray(ends[:, 0] + (ends[:, 1] - ends[:, 0]) * mark.rise, np.float32)
