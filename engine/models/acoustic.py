"""The acoustic network: everything between semantic tokens and the waveform, as one module.

Shapes: B rows, T tokens, F = 2T frames, P phonemes, D latent, G style vector, N samples.
Batches are padded; a mask is float [B, 1, length], None where nothing is padded. Noise is always
an argument: the same inputs give the same outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engine.model_config import AcousticConfig, HarmonicConfig, IstftConfig
from engine.models.decoder import NO_CONTEXT, Context, HifiGanDecoder, Trim, drop_context
from engine.models.flow import Flow
from engine.models.harmonic import HarmonicDecoder
from engine.models.istft import IstftDecoder
from engine.models.layers import fold_weight_norm
from engine.models.posterior import Posterior, PosteriorEncoder
from engine.models.prior import PriorEncoder, PriorOutput, TextMemory
from engine.models.quantizer import Quantizer
from engine.models.style import StyleEncoder, average_styles


class AcousticNetwork(nn.Module):
    """Quantiser, prior encoder, flow, decoder and style encoder; for training also a posterior.

    Args:
        with_posterior: Build the posterior encoder; serving does not need it.
        dropout: Of the encoders, in training only (0.1 in v1 and v2, 0 in v2Pro).
    """

    def __init__(
        self, config: AcousticConfig, *, with_posterior: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.config = config
        self.quantizer = Quantizer(config)
        self.prior = PriorEncoder(config, dropout)
        self.flow = Flow(config)
        self.decoder = _decoder(config)
        self.style = StyleEncoder(config, dropout)
        self.posterior = PosteriorEncoder(config) if with_posterior else None
        assert self.decoder.hop == config.hop, "decoder rates and hop disagree"

    @property
    def flow_halo(self) -> int:
        """Frames of context each side that make `flow_reverse` exact."""
        if isinstance(self.decoder, HarmonicDecoder):
            return self.flow.halo_frames + self.decoder.pitch.halo_frames
        return self.flow.halo_frames

    @property
    def source_rows(self) -> int:
        """Rows the decoder's input has beyond the latent; see `engine.models.harmonic`."""
        return self.decoder.source_rows if isinstance(self.decoder, HarmonicDecoder) else 0

    @property
    def decoder_halo(self) -> int:
        """Frames of context each side that make the decoder exact."""
        return self.decoder.halo_frames

    def extract_codes(self, ssl: Tensor) -> Tensor:
        """Return the tokens, int64 [B, T], of SSL features [B, S, 2T]."""
        return self.quantizer(ssl)  # type: ignore[no-any-return]

    def style_vector(self, specs: list[Tensor], speakers: list[Tensor] | None = None) -> Tensor:
        """Return the style [B, G, 1] of one or several references, averaged.

        Args:
            specs: Linear spectrograms [B, bins, F], one per reference.
            speakers: Their speaker embeddings [B, speaker_dim], where the model has them.
        """
        embeddings: list[Tensor | None] = [*speakers] if speakers else [None] * len(specs)
        pairs = zip(specs, embeddings, strict=True)
        return average_styles([self.style(spec, speaker) for spec, speaker in pairs])

    def encode_text(
        self, phoneme_ids: Tensor, style: Tensor, mask: Tensor | None = None
    ) -> TextMemory:
        """Encode the phonemes int64 [B, P] of a sentence once, under style [B, G, 1]."""
        return self.prior.encode_text(phoneme_ids, style, mask)

    def prior_stats(
        self,
        tokens: Tensor,
        memory: TextMemory,
        mask: Tensor | None = None,
        text_mask: Tensor | None = None,
    ) -> PriorOutput:
        """Return the statistics of int64 [B, T]: mean and log_std [B, D, F]."""
        return self.prior(self.quantizer.lookup(tokens), memory, mask, text_mask)  # type: ignore[no-any-return]

    def flow_reverse(self, latent: Tensor, style: Tensor) -> Tensor:
        """Map a sample of the prior, [B, D, F], to the decoder's latent, [B, D, F].

        A harmonic decoder's pitch follows as one more row, cycles per frame: [B, D + 1, F].
        """
        latent = self.flow.inverse(latent, style)
        if isinstance(self.decoder, HarmonicDecoder):
            latent = torch.cat((latent, self.decoder.cycles(latent, style)), dim=1)
        return latent

    @property
    def drops_context(self) -> bool:
        """True if the decoder does less for frames that are context than for others."""
        return not isinstance(self.decoder, IstftDecoder)

    def decode(
        self,
        latent: Tensor,
        style: Tensor,
        context: Context = NO_CONTEXT,
        trim: Trim = drop_context,
    ) -> Tensor:
        """Return the waveform [B, 1, N * hop] in [-1, 1] of the decoder's latent.

        The latent is [B, D + source_rows, F]; N is F less the context, which is not heard.
        """
        if isinstance(self.decoder, IstftDecoder):
            waveform, _ = trim(self.decoder(latent, style), context.upsampled(self.config.hop), 0)
        else:
            waveform = self.decoder(latent, style, context, trim)
        return waveform.clamp(-1.0, 1.0)

    def encode_posterior(
        self, spec: Tensor, style: Tensor, noise: Tensor, mask: Tensor | None = None
    ) -> Posterior:
        """Return the latent of a recording's spectrogram [B, bins, F]; training only."""
        assert self.posterior is not None, "built without a posterior"
        return self.posterior(spec, style, noise, mask)  # type: ignore[no-any-return]

    def prepare_inference(self) -> None:
        """Drop what only training needs and fold the weight norm, in place."""
        self.posterior = None
        self.eval()
        self.requires_grad_(False)
        fold_weight_norm(self)


def _decoder(config: AcousticConfig) -> HifiGanDecoder | IstftDecoder | HarmonicDecoder:
    settings = config.decoder
    if isinstance(settings, IstftConfig):
        return IstftDecoder(config, settings)
    if isinstance(settings, HarmonicConfig):
        return HarmonicDecoder(config, settings)
    return HifiGanDecoder(config, settings)


def init_random(
    config: AcousticConfig,
    seed: int,
    *,
    with_posterior: bool = False,
    dropout: float = 0.0,
) -> AcousticNetwork:
    """Return a network with random weights that depend on `seed` only.

    The codebook is drawn too (upstream's starts at zero), so that tokens are distinct; the flow is
    the identity until it is trained. Torch's global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = AcousticNetwork(config, with_posterior=with_posterior, dropout=dropout)
        codebook = network.quantizer.codebook
        codebook.normal_()
        network.quantizer.codebook_sum.copy_(codebook)
        network.quantizer.cluster_size.fill_(1.0)
        network.quantizer.initialized.fill_(1.0)
    return network
