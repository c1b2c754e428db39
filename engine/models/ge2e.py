"""The GE2E speaker encoder: three LSTM layers over mel power, averaged over short windows.

Sizes come from `settings`: mel_bins, hidden_dim, num_layers. The published network (Resemblyzer,
Apache-2.0) has 40, 256 and 3 and gives 256 values; its weights keep the names of torch's LSTM and
linear layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engine.audio.mel import HOP, ge2e_mel
from engine.types import FloatArray

_WINDOW_FRAMES = 160  # 1.6 s, what the network was trained on
_STEP_FRAMES = 77  # 1.3 windows a second
_MIN_COVERAGE = 0.75  # a last window with less sound than this is dropped
_TARGET_RMS = 10 ** (-30 / 20)  # quieter waves are raised to -30 dBFS; the input is power, not log


class Ge2e(nn.Module):
    """See the module docstring."""

    def __init__(self, settings: Mapping[str, Any], dim: int) -> None:
        """Build the network; `dim` is the size of the embedding."""
        super().__init__()
        hidden = int(settings["hidden_dim"])
        self.mel_bins = int(settings["mel_bins"])
        self.lstm = nn.LSTM(self.mel_bins, hidden, int(settings["num_layers"]), batch_first=True)
        self.linear = nn.Linear(hidden, dim)
        self.eval()

    def forward(self, mel: Tensor) -> Tensor:
        """Return one embedding of unit length per window: [W, frames, mel_bins] -> [W, dim]."""
        _, (hidden, _) = self.lstm(mel)
        return F.normalize(F.relu(self.linear(hidden[-1])), dim=1)

    def embed(self, samples: FloatArray) -> FloatArray:
        """Return the embedding of a wave, float32 [dim], of unit length.

        Args:
            samples: float32 [N], mono, 16 kHz, in [-1, 1], silence already trimmed.
        """
        starts = window_starts(len(samples))
        samples = raise_level(samples)
        missing = (starts[-1] + _WINDOW_FRAMES) * HOP - len(samples)
        mel = ge2e_mel(np.pad(samples, (0, max(0, missing))), num_filters=self.mel_bins)
        windows = np.stack([mel[start : start + _WINDOW_FRAMES] for start in starts])
        with torch.inference_mode():
            mean = self(torch.from_numpy(windows)).mean(dim=0)
            embedding: FloatArray = F.normalize(mean, dim=0).numpy()
        return embedding


def window_starts(num_samples: int) -> list[int]:
    """Return the first frame of every window; a last one with too little sound is left out."""
    num_frames = num_samples // HOP + 1
    starts = list(range(0, max(1, num_frames - _WINDOW_FRAMES + _STEP_FRAMES + 1), _STEP_FRAMES))
    covered = (num_samples - starts[-1] * HOP) / (_WINDOW_FRAMES * HOP)
    return starts[:-1] if covered < _MIN_COVERAGE and len(starts) > 1 else starts


def raise_level(samples: FloatArray) -> FloatArray:
    """Return the wave with an RMS of at least -30 dBFS; silence stays as it is."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    if rms == 0.0 or rms >= _TARGET_RMS:
        return samples
    return samples * np.float32(_TARGET_RMS / rms)
