"""The linear spectrogram of a batch on any device, for training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from engine.audio.spectrogram import POWER_FLOOR


def batch_spectrogram(waveform: Tensor, *, n_fft: int, hop: int) -> Tensor:
    """Return [B, n_fft/2 + 1, N // hop] of [B, N]; the same as `linear_spectrogram`, row by row.

    Differentiable: the floor under the root keeps the gradient of silence finite.
    """
    padding = (n_fft - hop) // 2
    mirrored = functional.pad(waveform.unsqueeze(1), (padding, padding), mode="reflect").squeeze(1)
    window = torch.hann_window(n_fft, dtype=waveform.dtype, device=waveform.device)
    spectrum = torch.stft(
        mirrored, n_fft, hop_length=hop, window=window, center=False, return_complex=True
    )
    return (spectrum.real.square() + spectrum.imag.square() + POWER_FLOOR).sqrt()
