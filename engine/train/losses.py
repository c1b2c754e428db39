"""What the acoustic stage minimises. Everything is a mean, so batch and length do not change it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.models.discriminators import Verdict

# Windows of 85, 43, 21, 11 and 5 ms at 24 kHz: harmonics need the long, onsets the short ones.
RESOLUTIONS = (2048, 1024, 512, 256, 128)
_FLOOR = 1e-4  # of full scale: differences below -80 dB do not count
_MARGIN = 0.25  # between pulses and noise, in the decoder's unit of log gain (1 nat)
_MEL_WINDOW = 1024
_NUM_MELS = 100


class SpectralLoss(nn.Module):
    """Log magnitude and linear magnitude, and a log mel spectrogram.

    Each call looks at `count` of the resolutions, drawn anew: over many steps all of them are
    seen, and a step costs a fraction of what all of them would.
    """

    mel: Tensor

    def __init__(
        self, sample_rate_hz: int, resolutions: Sequence[int] = RESOLUTIONS, count: int = 2
    ) -> None:
        super().__init__()
        self.resolutions = tuple(resolutions)
        self.count = count
        self.register_buffer("mel", mel_filters(sample_rate_hz, _MEL_WINDOW, _NUM_MELS))

    def forward(self, made: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Compare [B, N] with [B, N]; returns `spectral` and `mel`."""
        spectral = made.new_zeros(())
        chosen = {
            self.resolutions[i]
            for i in torch.randperm(len(self.resolutions))[: self.count].tolist()
        }
        for n_fft in sorted(chosen | {_MEL_WINDOW}):
            first = magnitudes(made, n_fft)
            with torch.no_grad():
                second = magnitudes(real, n_fft)
            if n_fft in chosen:
                linear_error = (first - second).abs().mean() / second.mean().clamp(min=_FLOOR)
                spectral = spectral + (log(first) - log(second)).abs().mean() + linear_error
            if n_fft == _MEL_WINDOW:
                mel = (log(self.mel @ first) - log(self.mel @ second)).abs().mean()
        return {"spectral": spectral / self.count, "mel": mel}


def magnitudes(waves: Tensor, n_fft: int) -> Tensor:
    """Return [B, n_fft/2 + 1, frames] of [B, N], scaled so that a full-scale sine reads 1."""
    window = torch.hann_window(n_fft, device=waves.device) * (4.0 / n_fft)
    spectrum = torch.stft(
        waves, n_fft, hop_length=n_fft // 3, window=window, center=False, return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    return (power + 1e-12).sqrt()


def log(magnitude: Tensor) -> Tensor:
    """The logarithm of a magnitude with the floor that all losses share."""
    return torch.log(magnitude + _FLOOR)


def mel_filters(sample_rate_hz: int, n_fft: int, count: int) -> Tensor:
    """Return triangles of equal height on the HTK mel scale, [count, n_fft/2 + 1]."""
    top = 2595.0 * math.log10(1 + sample_rate_hz / 2 / 700.0)
    edges = 700.0 * (10.0 ** (torch.linspace(0, top, count + 2) / 2595.0) - 1)
    bins = torch.linspace(0, sample_rate_hz / 2, n_fft // 2 + 1)
    rising = (bins - edges[:-2, None]) / (edges[1:-1, None] - edges[:-2, None])
    falling = (edges[2:, None] - bins) / (edges[2:, None] - edges[1:-1, None])
    filters = torch.minimum(rising, falling).clamp(min=0)
    return filters / filters.sum(dim=1, keepdim=True).clamp(min=1e-6)


def gaussian_kl(
    latent: Tensor, posterior_log_std: Tensor, mean: Tensor, log_std: Tensor, mask: Tensor
) -> Tensor:
    """Return the KL divergence of posterior to prior per latent channel and frame, in nats.

    Args:
        latent: The posterior's sample after the flow, [B, D, F].
        posterior_log_std: Before the flow, [B, D, F].
        mean: Of the prior, as is `log_std`, [B, D, F].
        mask: [B, 1, F].

    Source: the estimator of VITS (Kim et al. 2021), equation 4.
    """
    squared = (latent - mean).square() * torch.exp(-2.0 * log_std)
    divergence = log_std - posterior_log_std - 0.5 + 0.5 * squared
    return (divergence * mask).sum() / (mask.sum() * latent.shape[1])


def voicing_error(filters: Tensor, voiced: Tensor) -> Tensor:
    """Return how far pulses and noise are from their jobs, in a harmonic decoder's filters.

    Spectral losses hardly tell a comb of harmonics from noise, the ear does: unvoiced sounds must
    be noise by a margin, and the lower quarter of voiced ones pulses.

    Args:
        filters: [B, 3K, M], log gain of pulses, of noise, and extra phase.
        voiced: [B, 1, F], 1 where the recording is voiced; M is a multiple of F.
    """
    pulses, noise, _ = filters.chunk(3, dim=1)
    voiced = voiced.repeat_interleave(filters.shape[2] // voiced.shape[2], dim=2)
    low = pulses.shape[1] // 4
    hiss = functional.relu(noise[:, :low] - pulses[:, :low] + _MARGIN)
    buzz = functional.relu(pulses - noise + _MARGIN)
    return masked_mean(hiss, voiced) + masked_mean(buzz, 1 - voiced)


def attention_error(attention: Tensor, place: Tensor) -> Tensor:
    """Return how little of each frame's attention is on the phoneme being spoken, in nats.

    Half of a neighbour's share counts as well: borders between phonemes are a matter of taste.

    Args:
        attention: [B, F, P], rows sum to 1.
        place: int64 [B, F], -1 unknown.
    """
    known = place >= 0
    padded = functional.pad(attention, (1, 1))
    centre = (place.clamp(min=0) + 1).unsqueeze(2)
    share = padded.gather(2, centre)
    share = share + 0.5 * (padded.gather(2, centre - 1) + padded.gather(2, centre + 1))
    return -torch.log(share.squeeze(2) + 1e-4)[known].mean()


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of `values` where `mask` is 1; shapes broadcast."""
    mask = mask.expand_as(values)
    return (values * mask).sum() / mask.sum().clamp(min=1)


def discriminator_loss(real: Sequence[Verdict], made: Sequence[Verdict]) -> Tensor:
    """Return the least-squares loss of the judges: recorded is 1, made is 0."""
    losses = [
        (1 - r.scores).square().mean() + m.scores.square().mean()
        for r, m in zip(real, made, strict=True)
    ]
    return torch.stack(losses).mean()


def generator_loss(made: Sequence[Verdict]) -> Tensor:
    """Return what the decoder pays for every wave the judges see through."""
    return torch.stack([(1 - m.scores).square().mean() for m in made]).mean()


def feature_loss(real: Sequence[Verdict], made: Sequence[Verdict]) -> Tensor:
    """Return the relative L1 distance of what the judges' layers see."""
    losses = [
        (a.detach() - b).abs().mean() / a.detach().abs().mean().clamp(min=1e-3)
        for r, m in zip(real, made, strict=True)
        for a, b in zip(r.features[:-1], m.features[:-1], strict=True)
    ]
    return torch.stack(losses).mean()
