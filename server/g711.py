"""G.711: 16-bit samples as 8-bit mu-law or A-law, the codecs of the telephone network.

Tables over all 65536 samples, built once per law from ITU-T G.711's definition.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Int16Array = NDArray[np.int16]
_MU_BIAS = 132  # 33 in the 14-bit scale of the Recommendation
_MU_CLIP = 32635


def mulaw(samples: Int16Array) -> bytes:
    """Return int16 [N] as N bytes of mu-law."""
    return _mulaw_table()[samples.view(np.uint16)].tobytes()


def alaw(samples: Int16Array) -> bytes:
    """Return int16 [N] as N bytes of A-law."""
    return _alaw_table()[samples.view(np.uint16)].tobytes()


def _all_samples() -> NDArray[np.int32]:
    """Return every int16 value in the order of its bits as an unsigned number."""
    return np.arange(65536, dtype=np.uint16).view(np.int16).astype(np.int32)


@cache
def _mulaw_table() -> NDArray[np.uint8]:
    sample = _all_samples()
    magnitude = np.minimum(np.abs(sample), _MU_CLIP) + _MU_BIAS
    segment = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    step = (magnitude >> (segment + 3)) & 0x0F
    sign = np.where(sample < 0, 0x80, 0)
    code: NDArray[np.int32] = ~(sign | (segment << 4) | step) & 0xFF
    return code.astype(np.uint8)


@cache
def _alaw_table() -> NDArray[np.uint8]:
    sample = _all_samples()
    # 13-bit magnitude; a negative value is counted from -1, so that -1 falls into step 0.
    magnitude = np.where(sample >= 0, sample, -sample - 1) >> 3
    segment = np.maximum(np.floor(np.log2(np.maximum(magnitude, 1))).astype(np.int32) - 4, 0)
    step = (magnitude >> np.maximum(segment, 1)) & 0x0F
    sign = np.where(sample >= 0, 0x80, 0)
    code: NDArray[np.int32] = (sign | (segment << 4) | step) ^ 0x55
    return code.astype(np.uint8)
