"""A source-filter decoder: ConvNeXt blocks shape a pulse train and noise in the STFT domain.

A network that has to invent phases learns them slowly and sounds buzzy until a discriminator has
taught it better. Here the phase of voiced speech comes from the pitch: the latent gives cycles per
frame, their running sum is the phase, and the network only says how to filter the pulses and the
noise, which a plain spectral loss teaches in minutes.

The running sum has no finite reach, so it is kept outside the network, where a sentence's state is
(`engine.latent_stream`): the flow returns one more row, cycles per frame, and the decoder takes two
more, the phase at each frame's start and the frame's number (which noise to use). With them the
decoder is again a function of a few frames each side, and chunks equal a whole decode.

Most of those frames are for the blocks at the frame rate, which are a fifth of the work. Behind
them all but `needed` frames of context are dropped, as `engine.models.decoder` does.

Shapes: B rows, F frames, M = F * upsample_rate STFT frames, K = n_fft / 2 + 1 bins, N samples.
Source: the idea of harmonic plus noise with a neural filter is Engel et al. 2020 (DDSP) and Wang
et al. 2019 (neural source-filter); the arrangement is ours.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.model_config import NOISE_FRAMES, AcousticConfig, HarmonicConfig
from engine.models.decoder import NO_CONTEXT, Context, Trim, drop_context
from engine.models.istft import INPUT_KERNEL, ConvNeXtBlock, InverseStft
from engine.models.layers import ChannelNorm

SOURCE_ROWS = 3  # cycles, phase, frame number
_PITCH_KERNEL = 5
_MIN_LOG = -12.0
_MAX_LOG = 5.0
# Log gains span about 10, so the head's output is scaled: without it the optimiser's small steps
# need half as many updates again (mel loss 0.40 and 0.36 after 195 steps of the same batches).
_HEAD_GAIN = 4.0


class PitchHead(nn.Module):
    """Latent -> cycles per frame: the pitch the decoder's pulses follow."""

    halo_frames = 2 * (_PITCH_KERNEL // 2)

    def __init__(self, config: AcousticConfig) -> None:
        super().__init__()
        hidden = config.hidden_dim
        self.input = nn.Conv1d(config.latent_dim, hidden, _PITCH_KERNEL, padding=2)
        self.condition = nn.Conv1d(config.gin_dim, hidden, 1)
        self.middle = nn.Conv1d(hidden, hidden, _PITCH_KERNEL, padding=2)
        self.out = nn.Conv1d(hidden, 1, 1)
        # 160 Hz to begin with; the exponent below moves it by octaves.
        self.base = config.hop / config.sample_rate_hz * 160.0

    def forward(self, latent: Tensor, style: Tensor) -> Tensor:
        """Return cycles per frame, [B, 1, F], of [B, D, F] and style [B, G, 1]."""
        x = functional.gelu(self.input(latent) + self.condition(style))
        x = functional.gelu(self.middle(x))
        octaves = (2 * torch.tanh(self.out(x) / 2)).clamp(-1.7, 1.9)
        return self.base * torch.exp2(octaves)


class Excitation(nn.Module):
    """Pulses and noise at the sample rate from cycles, phase and frame number."""

    noise: Tensor
    time: Tensor

    def __init__(self, hop: int) -> None:
        super().__init__()
        self.hop = hop
        generator = torch.Generator().manual_seed(20261122)
        noise = torch.randn(NOISE_FRAMES, hop, generator=generator)
        self.register_buffer("noise", noise, persistent=False)
        # The middle of each sample, as a fraction of the frame.
        time = (torch.arange(hop, dtype=torch.float32) + 0.5) / hop
        self.register_buffer("time", time[:, None], persistent=False)

    def forward(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Return pulses and noise, each [B, 1, N], of the source rows [B, 3, F]."""
        cycles, phase, number = source.chunk(SOURCE_ROWS, dim=1)
        return self._pulses(cycles, phase), self._noise(number)

    def _pulses(self, cycles: Tensor, phase: Tensor) -> Tensor:
        """Every harmonic below half the sample rate, in phase, with unit power in total."""
        before = torch.cat((cycles[:, :, :1], cycles[:, :, :-1]), dim=2)
        after = torch.cat((cycles[:, :, 1:], cycles[:, :, -1:]), dim=2)
        start, end = (before + cycles) / 2, (cycles + after) / 2
        t = self.time
        # Cubic Hermite: exact at frame borders, with a continuous frequency.
        position = (
            phase
            + cycles * (t * t * (3 - 2 * t))
            + start * (t * (1 - t) * (1 - t))
            - end * (t * t * (1 - t))
        )
        count = torch.floor(0.5 * self.hop / cycles.clamp(min=1e-3))
        wrapped = position - torch.round(position)
        sine = torch.sin(math.pi * wrapped)
        near = sine.abs() < 1e-4
        ratio = torch.sin(math.pi * (2 * count + 1) * wrapped) / torch.where(near, 1.0, sine)
        kernel = (torch.where(near, 2 * count + 1, ratio) - 1) / 2
        return _samples(kernel * torch.sqrt(2 / count))

    def _noise(self, number: Tensor) -> Tensor:
        rows = number[:, 0].round().to(torch.int64) % NOISE_FRAMES
        return functional.embedding(rows, self.noise).flatten(1).unsqueeze(1)


class Stft(nn.Module):
    """Windowed spectra by one convolution; frame m is centred as `InverseStft` centres it."""

    basis: Tensor

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.pad = (n_fft - hop) // 2
        time = torch.arange(n_fft, dtype=torch.float64)
        bins = torch.arange(n_fft // 2 + 1, dtype=torch.float64)
        angle = 2 * math.pi / n_fft * bins[:, None] * time[None]
        window = 0.5 - 0.5 * torch.cos(2 * math.pi / n_fft * time)
        basis = torch.cat((angle.cos(), -angle.sin())) * window
        self.register_buffer("basis", basis.float()[:, None], persistent=False)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return real and imaginary parts [B, K, M] of [B, 1, M * hop]."""
        padded = functional.pad(samples, (self.pad, self.pad))
        spectrum = functional.conv1d(padded, self.basis, stride=self.hop)
        real, imag = spectrum.chunk(2, dim=1)
        return real, imag


class HarmonicDecoder(nn.Module):
    """See the module docstring.

    Attributes:
        hop: Samples per frame.
        halo_frames: Context each side that makes a frame's samples exact.
        source_rows: Rows its input has beyond the latent.
    """

    source_rows = SOURCE_ROWS
    hilbert: Tensor

    def __init__(self, config: AcousticConfig, settings: HarmonicConfig) -> None:
        super().__init__()
        self.hop = settings.upsample_rate * settings.hop
        self.rate = settings.upsample_rate
        self.latent_dim = config.latent_dim
        self.bins = settings.n_fft // 2 + 1
        self.needed = _spectra_frames(settings) + 1  # and one for the slope of the pitch
        filters = settings.frame_blocks * (settings.kernel // 2) + INPUT_KERNEL // 2
        self.halo_frames = _spectra_frames(settings) + max(filters, 1)
        wide, narrow = settings.frame_channels, settings.channels
        scale = 1 / (settings.frame_blocks + settings.blocks)
        self.pitch = PitchHead(config)
        self.excitation = Excitation(self.hop)
        # Log pitch tells the network how far apart the harmonics it filters are.
        self.input = nn.Conv1d(config.latent_dim + 1, wide, INPUT_KERNEL, padding=INPUT_KERNEL // 2)
        self.condition = nn.Conv1d(config.gin_dim, wide + narrow, 1)
        self.input_norm = ChannelNorm(wide)
        self.frame_blocks = nn.Sequential(
            *(
                ConvNeXtBlock(wide, settings.kernel, settings.ffn_factor, scale)
                for _ in range(settings.frame_blocks)
            )
        )
        self.upsample = nn.Conv1d(wide, narrow * settings.upsample_rate, 1)
        self.blocks = nn.Sequential(
            *(
                ConvNeXtBlock(narrow, settings.kernel, settings.ffn_factor, scale)
                for _ in range(settings.blocks)
            )
        )
        self.norm = ChannelNorm(narrow)
        self.head = nn.Conv1d(narrow, 3 * self.bins, 1)
        self.stft = Stft(settings.n_fft, settings.hop)
        self.inverse = InverseStft(settings.n_fft, settings.hop)
        self.register_buffer("hilbert", _hilbert(settings.n_fft), persistent=False)
        self._widths = (wide, narrow)
        self._quiet_start()

    def _quiet_start(self) -> None:
        """Begin near silence with no phase of its own: loss curves start where speech is."""
        with torch.no_grad():
            self.head.weight.mul_(0.1)
            assert self.head.bias is not None
            self.head.bias[: 2 * self.bins].fill_(-5.0 / _HEAD_GAIN)
            self.head.bias[2 * self.bins :].zero_()

    def cycles(self, latent: Tensor, style: Tensor) -> Tensor:
        """Return the pitch the latent stands for, cycles per frame, [B, 1, F]."""
        cycles: Tensor = self.pitch(latent, style)
        return cycles

    def filters(
        self,
        latent: Tensor,
        cycles: Tensor,
        style: Tensor,
        context: Context = NO_CONTEXT,
        trim: Trim = drop_context,
    ) -> Tensor:
        """Return log gains of pulses and of noise (scaled) and extra phase, [B, 3K, M].

        Of the context `needed` frames each side are left.
        """
        frame_style, style = self.condition(style).split(self._widths, dim=1)
        log_pitch = torch.log2(cycles / self.pitch.base)
        x = self.input(torch.cat((latent, log_pitch), dim=1))
        x = self.frame_blocks(self.input_norm(x + frame_style))
        x, _ = trim(x, context, self.needed)
        batch, _, frames = x.shape
        x = self.upsample(x).reshape(batch, -1, self.rate, frames).transpose(2, 3).flatten(2)
        filters: Tensor = self.head(self.norm(self.blocks(x + style)))
        return filters

    def forward(
        self,
        latent: Tensor,
        style: Tensor,
        context: Context = NO_CONTEXT,
        trim: Trim = drop_context,
    ) -> Tensor:
        """Return the waveform [B, 1, N] of [B, D + 3, F] and style [B, G, 1].

        The frames of the context are not heard. Not limited to [-1, 1]: training needs the
        gradient of what goes beyond.
        """
        latent, source = latent[:, : self.latent_dim], latent[:, self.latent_dim :]
        filters = self.filters(latent, source[:, :1], style, context, trim)
        source, context = trim(source, context, self.needed)
        return trim(self.render(filters, source), context.upsampled(self.hop), 0)[0]

    def render(self, filters: Tensor, source: Tensor) -> Tensor:
        """Return the waveform [B, 1, N] of `filters` [B, 3K, M] and the source rows [B, 3, F]."""
        pulse_gain, noise_gain, extra = filters.chunk(3, dim=1)
        pulse_gain = (_HEAD_GAIN * pulse_gain).clamp(_MIN_LOG, _MAX_LOG)
        noise_gain = (_HEAD_GAIN * noise_gain).clamp(_MIN_LOG, _MAX_LOG).exp()
        # A minimum-phase filter rings after each pulse as a vocal tract does.
        phase = functional.conv1d(pulse_gain, self.hilbert) + extra
        gain = pulse_gain.exp()
        real, imag = gain * phase.cos(), gain * phase.sin()
        pulses, noise = self.excitation(source)
        pulse_real, pulse_imag = self.stft(pulses)
        noise_real, noise_imag = self.stft(noise)
        return self.inverse(  # type: ignore[no-any-return]
            pulse_real * real - pulse_imag * imag + noise_real * noise_gain,
            pulse_real * imag + pulse_imag * real + noise_imag * noise_gain,
        )


def with_source(latent: Tensor, cycles: Tensor, first_frame: int = 0) -> Tensor:
    """Return [B, D + 3, F]: a whole sentence's latent with cycles, phase and frame number.

    What `engine.latent_stream` does chunk by chunk, at once, for training and offline use.

    Args:
        latent: [B, D, F].
        cycles: [B, 1, F].
        first_frame: Number of the first frame, for the noise.
    """
    total = torch.cumsum(cycles.double(), dim=2) - cycles
    phase = (total - torch.floor(total)).to(latent.dtype)
    number = torch.arange(latent.shape[2], device=latent.device, dtype=latent.dtype) + first_frame
    number = (number % NOISE_FRAMES).expand_as(phase)
    return torch.cat((latent, cycles, phase, number), dim=1)


def _spectra_frames(settings: HarmonicConfig) -> int:
    """Return how many frames beside a frame its samples depend on, of what the frame blocks make.

    Samples depend on overlapping STFT frames (filters: blocks' reach more; excitation: one window
    more).
    """
    overlap = settings.n_fft // settings.hop
    spectra = overlap // 2 + max(settings.blocks * (settings.kernel // 2), overlap // 2)
    return math.ceil(spectra / settings.upsample_rate)


def _hilbert(n_fft: int) -> Tensor:
    """Return [K, K, 1]: log gain -> phase of the minimum-phase filter with that gain.

    The cepstrum of the log gain, folded to positive time, has the phase as its imaginary part.
    """
    bins = n_fft // 2 + 1
    k = torch.arange(bins, dtype=torch.float64)
    n = torch.arange(1, n_fft // 2, dtype=torch.float64)  # folded part of the cepstrum
    weight = torch.full_like(k, 2.0)
    weight[0] = weight[-1] = 1.0
    angle = 2 * math.pi / n_fft
    cepstrum = torch.cos(angle * n[:, None] * k[None]) * weight / n_fft
    phase = -2 * torch.sin(angle * k[:, None] * n[None]) @ cepstrum
    return phase.float()[:, :, None]


def _samples(frames: Tensor) -> Tensor:
    """Return [B, 1, F * hop] of [B, hop, F]."""
    return frames.transpose(1, 2).flatten(1).unsqueeze(1)
