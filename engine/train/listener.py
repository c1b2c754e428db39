"""What the token stage hears in a wave, as a loss: made and recorded speech should say the same.

Spectral losses hardly weigh what tells one consonant from another; the SSL encoder and the token
stage's projection were trained to hear exactly that. A probe of phonemes weighs it most: features
can be near and say another word. All are frozen here, and gradients go through them to the wave.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.audio.mel import HOP, SAMPLE_RATE_HZ, WINDOW, slaney_filters
from engine.models.quantizer import Quantizer
from engine.models.whisper import WhisperEncoder
from engine.train import losses
from engine.train.phoneme_probe import PhonemeProbe

_FLOOR = 1e-10
_RANGE = 8.0  # decades below the loudest band


class Listener(nn.Module):
    """Whisper's encoder and a quantizer's projection over waves of any rate of n * 100 Hz.

    Args:
        encoder: With the weights the tokens were made with.
        quantizer: Of the token stage.
        sample_rate_hz: At least 16 kHz; what lies above 8 kHz is not heard.
        probe: Tells phonemes; without it only features and columns are compared.
    """

    filters: Tensor

    def __init__(
        self,
        encoder: WhisperEncoder,
        quantizer: Quantizer,
        sample_rate_hz: int,
        probe: PhonemeProbe | None = None,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.quantizer = quantizer
        self.probe = probe
        self.window = WINDOW * sample_rate_hz // SAMPLE_RATE_HZ
        self.hop = HOP * sample_rate_hz // SAMPLE_RATE_HZ
        filters = torch.from_numpy(slaney_filters(encoder.conv_in.in_channels)).float()
        self.register_buffer("filters", filters, persistent=False)
        self.requires_grad_(False).eval()

    def mel(self, waves: Tensor) -> Tensor:
        """Return Whisper's input [B, M, N // hop] of [B, N]; see `engine.audio.mel.whisper_mel`.

        Windows are as long in seconds as Whisper's, so bins are 40 Hz apart at any rate and no
        resampling is needed.
        """
        shape = torch.hann_window(self.window, device=waves.device) * (WINDOW / self.window)
        spectrum = torch.stft(
            waves, self.window, hop_length=self.hop, window=shape, return_complex=True
        )[:, : WINDOW // 2 + 1, :-1]
        power = spectrum.real.square() + spectrum.imag.square()
        levels = torch.log10((self.filters @ power).clamp(min=_FLOOR))
        loudest = levels.detach().amax(dim=(1, 2), keepdim=True)
        return (torch.maximum(levels, loudest - _RANGE) + 4.0) / 4.0

    def forward(
        self, made: Tensor, real: Tensor, phonemes: Tensor, mask: Tensor
    ) -> dict[str, Tensor]:
        """Compare what is heard in two waves [B, N] of F frames.

        Args:
            made: Gradients go to it.
            real: The recording.
            phonemes: int64 [B, T], the phoneme spoken at each token, -1 unknown; T = F / 2.
            mask: float [B, T], 0 beyond the end.

        Returns:
            `speech`, the relative L1 of features and columns, and with a probe `phoneme`, the
            cross-entropy of what it hears to what it should.
        """
        heard = self._hear(made)
        with torch.no_grad():
            wanted = self._hear(real)
        errors = [
            functional.l1_loss(a, b) / b.abs().mean() for a, b in zip(heard, wanted, strict=True)
        ]
        terms = {"speech": torch.stack(errors).mean()}
        if self.probe is not None:
            terms["phoneme"] = self._phoneme_error(self.probe, heard[0], wanted[0], phonemes, mask)
        return terms

    @staticmethod
    def _phoneme_error(
        probe: PhonemeProbe, heard: Tensor, wanted: Tensor, phonemes: Tensor, mask: Tensor
    ) -> Tensor:
        """Half of the target is the alignment's phoneme, half what is heard in the recording.

        Borders are heard better than they are aligned, and a phoneme that the recording slurs is
        aligned better than it is heard.
        """
        with torch.no_grad():
            target = probe.eval()(wanted).float().softmax(dim=1)
            known = (phonemes >= 0).unsqueeze(1)
            told = functional.one_hot(phonemes.clamp(min=0), target.shape[1]).transpose(1, 2)
            target = torch.where(known, 0.5 * (target + told), target)
        # With dropout: what pleases one network only is not clearer.
        scores = probe.train()(heard).float().log_softmax(dim=1)
        return losses.masked_mean(-(target * scores).sum(dim=1), mask)

    def _hear(self, waves: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", enabled=False):
            mel = self.mel(waves.float())
        features = self.encoder(mel[:, :, : mel.shape[2] // 2 * 2])
        return features.float(), self.quantizer.columns(features).float()
