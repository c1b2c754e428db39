"""Makes somebody else's recording of one: other pitch, other formants, another microphone.

Tokens that must be the same for both cannot say who speaks (the idea of ContentVec, Qian et al.
2022; how the copies are made is ours). The copy is resampled, which moves pitch and formants
together and changes its length, and its spectrum is tilted and bent.
"""

from __future__ import annotations

import numpy as np

from engine.audio.resample import resample
from engine.types import FloatArray

# Beyond this, children and giants speak, and the encoder hears other phonemes.
_LONGEST = 1.19
_TILT_DB = 8.0  # from the bottom of the spectrum to its top
_BEND_DB = 6.0
_BEND_AT = (0.05, 0.2, 0.4, 0.7)  # of the spectrum
_STEPS = 100  # the ratio is a fraction of whole hundredths: cheap to resample by


def warp(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Return a copy, float32 [N'], of float32 [N]; N' / N is between 0.84 and 1.19."""
    longest = np.log(_LONGEST)
    ratio = round(_STEPS * float(np.exp(rng.uniform(-longest, longest))))
    stretched = resample(samples, 48000, 48000 * ratio // _STEPS)
    tilt = float(rng.uniform(-_TILT_DB, _TILT_DB))
    bend = rng.uniform(-_BEND_DB, _BEND_DB, len(_BEND_AT))
    spectrum = np.fft.rfft(stretched)
    place = np.linspace(0, 1, len(spectrum))
    gain_db = tilt * place + np.interp(place, _BEND_AT, bend)
    bent = np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(stretched)).astype(np.float32)
    return bent / np.float32(max(1.0, float(np.abs(bent).max(initial=0.0))))
