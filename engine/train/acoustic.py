"""Stage 2: posterior, decoder, style, and (with tokens) prior and flow.

Without tokens it learns to rebuild recordings; with them also to say what the posterior will be
(the KL term). Two ways to the waveform are trained, one drawn at each step:

    recording -> posterior ----------------------> decoder
    tokens, phonemes, style -> prior -> flow^-1 -> decoder   (`prior_share`: what serving does)

The decoder is always given the recording's pitch; its own pitch head learns beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from engine.errors import InvalidParameter
from engine.model_config import AcousticConfig
from engine.models.acoustic import init_random
from engine.models.discriminators import Discriminators, SpectralJudges, Verdict
from engine.models.harmonic import HarmonicDecoder, with_source
from engine.models.spectrogram import batch_spectrogram
from engine.train import losses
from engine.train.batches import AcousticBatch, AcousticShape, Corpus, acoustic_batch, generator
from engine.train.listener import Listener
from engine.train.loop import LoopSettings, clip_and_step
from engine.types import FRAMES_PER_TOKEN


@dataclass(frozen=True, slots=True)
class AcousticSettings:
    """Weights and sizes of the stage."""

    batch_size: int = 12
    max_frames: int = 60
    slice_frames: int = 0  # frames decoded of each row; 0 decodes all
    reference_frames: int = 150
    spectral_weight: float = 1.0
    mel_weight: float = 1.0
    pitch_weight: float = 3.0
    voicing_weight: float = 0.2  # of `losses.voicing_error`
    unit_weight: float = 0.02  # KL to a unit Gaussian: keeps the latent small
    kl_weight: float = 0.0  # KL to the prior through the flow; > 0 needs tokens
    guide_weight: float = 0.0  # frames to attend to the phoneme being spoken, where it is known
    prior_share: float = 0.0  # of the steps, rebuild from the prior's sample
    prior_noise: float = 0.5  # as in serving, `SynthesisParams.noise_scale`
    adversarial_weight: float = 0.0
    judges_alone: int = 0  # first steps, in which only the judges learn: fresh ones mislead
    feature_weight: float = 1.0
    speech_weight: float = 0.0  # of `listener.Listener`; > 0 needs one
    phoneme_weight: float = 0.0  # of the same; > 0 needs one with a probe
    autocast: bool = True  # bf16 where the CPU or GPU has it
    frozen: tuple[str, ...] = ()  # parts that are not trained, such as "posterior"
    rates: Mapping[str, float] | None = None  # part -> factor on the learning rate


class AcousticStage:
    """See the module docstring; a `Stage` of the loop."""

    averaged: tuple[str, ...] = ("acoustic",)

    def __init__(
        self,
        config: AcousticConfig,
        settings: AcousticSettings,
        loop: LoopSettings,
        corpus: Corpus,
        weights: Mapping[str, Tensor] | None = None,
        listener: Listener | None = None,
    ) -> None:
        self.config = config
        self.settings = settings
        self.loop = loop
        self.corpus = corpus
        self.listener = listener
        if (listener is None) != (settings.speech_weight == 0):
            raise InvalidParameter("speech_weight", settings.speech_weight, "> 0 with a listener")
        if (listener is None or listener.probe is None) != (settings.phoneme_weight == 0):
            raise InvalidParameter("phoneme_weight", settings.phoneme_weight, "> 0 with a probe")
        self.network = init_random(config, loop.seed, with_posterior=True)
        if weights is not None:
            self.network.load_state_dict(weights, strict=False)
        elif self.network.style.speaker is not None:
            # Verifier embeddings have unit length: 1/16 per channel would hardly be heard.
            with torch.no_grad():
                self.network.style.speaker.weight.mul_(8.0)
        for name in ("quantizer", *settings.frozen):
            self.network.get_submodule(name).requires_grad_(False)
        self.shape = AcousticShape(
            config.hop,
            config.sample_rate_hz,
            settings.batch_size,
            settings.max_frames,
            settings.reference_frames,
        )
        self.spectral = losses.SpectralLoss(config.sample_rate_hz)
        self.networks: dict[str, nn.Module] = {"acoustic": self.network}
        self.optimizers: dict[str, torch.optim.Optimizer] = {
            "acoustic": torch.optim.AdamW(self._groups(), betas=(0.8, 0.99), weight_decay=0.01)
        }
        self.parameters = [p for p in self.network.parameters() if p.requires_grad]
        self.judges: Discriminators | SpectralJudges | None = None
        if settings.adversarial_weight > 0:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(loop.seed)
                # A harmonic decoder's phase is its own: judges of the wave would see only that.
                if isinstance(self.network.decoder, HarmonicDecoder):
                    self.judges = SpectralJudges(config.sample_rate_hz, losses.mel_filters)
                else:
                    self.judges = Discriminators()
            self.networks["judges"] = self.judges
            self.optimizers["judges"] = torch.optim.AdamW(
                self.judges.parameters(), betas=(0.8, 0.99)
            )

    def _groups(self) -> list[dict[str, object]]:
        rates = self.settings.rates or {}
        groups: list[dict[str, object]] = []
        for name, part in self.network.named_children():
            parameters = [p for p in part.parameters() if p.requires_grad]
            if parameters:
                groups.append({"params": parameters, "rate_factor": rates.get(name, 1.0)})
        return groups

    def step(self, step: int) -> Mapping[str, float]:
        """Train on the batch of `step`."""
        batch = acoustic_batch(self.corpus, self.shape, generator(self.loop.seed, step))
        if self.judges is not None and step < self.settings.judges_alone:
            with torch.no_grad():
                _, made, real = self._losses(batch)
            return {"judges": self._train_judges(made, real)}
        terms, made, real = self._losses(batch)
        figures = {name: value.item() for name, value in terms.items()}
        total = torch.stack(list(self._weighted(terms))).sum()
        if self.judges is not None:
            figures["judges"] = self._train_judges(made.detach(), real)
            verdicts = self._judge(made)
            with torch.no_grad():
                truth = self._judge(real)
            adversarial = losses.generator_loss(verdicts)
            feature = losses.feature_loss(truth, verdicts)
            figures |= {"adversarial": adversarial.item(), "feature": feature.item()}
            weight = self.settings.adversarial_weight
            total = total + weight * (adversarial + self.settings.feature_weight * feature)
        total.backward()  # type: ignore[no-untyped-call]
        figures["gradient"] = clip_and_step(
            [self.optimizers["acoustic"]], self.parameters, self.loop.max_gradient
        )
        return figures

    def _weighted(self, terms: Mapping[str, Tensor]) -> list[Tensor]:
        settings = self.settings
        weights = {
            "spectral": settings.spectral_weight,
            "mel": settings.mel_weight,
            "pitch": settings.pitch_weight,
            "voicing": settings.voicing_weight,
            "unit": settings.unit_weight,
            "kl": settings.kl_weight,
            "guide": settings.guide_weight,
            "speech": settings.speech_weight,
            "phoneme": settings.phoneme_weight,
        }
        return [weights[name.removeprefix("prior_")] * value for name, value in terms.items()]

    def _losses(self, batch: AcousticBatch) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """Return the terms, and the waves made and recorded of the slice, [B, 1, N]."""
        settings = self.settings
        style = self._style(batch)
        terms: dict[str, Tensor] = {}
        latent, log_std = None, None
        if settings.kl_weight > 0 or settings.prior_share < 1:
            latent, log_std = self._posterior(style, batch, terms)
        from_prior = float(torch.rand(())) < settings.prior_share
        if from_prior or settings.kl_weight > 0:
            sample = self._prior(latent, log_std, style, batch, terms)
        if from_prior:
            made, real = self._decode(sample, style, batch, terms, "prior_")
        else:
            assert latent is not None
            made, real = self._decode(latent, style, batch, terms, "")
        return terms, made, real

    def _posterior(
        self, style: Tensor, batch: AcousticBatch, terms: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Add the unit term; return a sample of the posterior and its log deviation."""
        spec = batch_spectrogram(batch.wave, n_fft=self.config.n_fft, hop=self.config.hop)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            noise = torch.randn(len(spec), self.config.latent_dim, spec.shape[2])
            posterior = self.network.encode_posterior(compress(spec), style, noise, batch.mask)
        log_std = posterior.log_std.float()
        if self.settings.unit_weight > 0:
            unit = 0.5 * (posterior.mean.float().square() + torch.exp(2 * log_std) - 1) - log_std
            terms["unit"] = losses.masked_mean(unit, batch.mask)
        return posterior.latent.float(), log_std

    def _style(self, batch: AcousticBatch) -> Tensor:
        reference = batch_spectrogram(batch.reference, n_fft=self.config.n_fft, hop=self.config.hop)
        speaker = batch.speaker if self.config.speaker_dim else None
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            style: Tensor = self.network.style(reference, speaker)
        return style

    def _prior(
        self,
        latent: Tensor | None,
        log_std: Tensor | None,
        style: Tensor,
        batch: AcousticBatch,
        terms: dict[str, Tensor],
    ) -> Tensor:
        """Add the KL and guide terms; return the prior's sample behind the inverse flow."""
        settings, network = self.settings, self.network
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.autocast):
            memory = network.encode_text(batch.phonemes, style, batch.text_mask)
            stats = network.prior_stats(batch.tokens, memory, batch.mask, batch.text_mask)
        mean, prior_log_std = stats.mean.float(), stats.log_std.float()
        if latent is not None and log_std is not None:
            with torch.autocast("cpu", torch.bfloat16, enabled=settings.autocast):
                flowed = network.flow(latent, style, batch.mask)
            terms["kl"] = losses.gaussian_kl(
                flowed.float(), log_std, mean, prior_log_std, batch.mask
            )
        if settings.guide_weight > 0:
            terms["guide"] = losses.attention_error(stats.attention.float(), batch.place)
        noise = torch.randn_like(mean) * settings.prior_noise
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.autocast):
            sample = network.flow.inverse(
                mean + noise * torch.exp(prior_log_std), style, batch.mask
            )
        return sample.float()

    def _slice(self, batch: AcousticBatch) -> slice:
        frames = batch.mask.shape[2]
        count = self.settings.slice_frames or frames
        if count >= frames:
            return slice(0, frames)
        # On a token's first frame: what is heard in a token is compared with what is spoken in it.
        start = FRAMES_PER_TOKEN * int(torch.randint((frames - count) // FRAMES_PER_TOKEN + 1, ()))
        return slice(start, start + count)

    def _decode(
        self,
        latent: Tensor,
        style: Tensor,
        batch: AcousticBatch,
        terms: dict[str, Tensor],
        prefix: str,
    ) -> tuple[Tensor, Tensor]:
        """Decode a slice, add its spectral and pitch terms, return both waves [B, 1, N]."""
        hop, decoder, cut = self.config.hop, self.network.decoder, self._slice(batch)
        real = batch.wave[:, cut.start * hop : cut.stop * hop]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            if isinstance(decoder, HarmonicDecoder):
                cycles = decoder.cycles(latent, style).float()
                terms[f"{prefix}pitch"] = _pitch_error(cycles, batch)
                guide = torch.where(batch.mask > 0, batch.cycles, cycles.detach())
                latent = with_source(latent, guide)
        made = self._render(latent[:, :, cut], style, batch.voiced[:, :, cut], terms, prefix)
        for name, value in self.spectral(made.squeeze(1), real).items():
            terms[prefix + name] = value
        if self.listener is not None:
            spoken, mask = _spoken(batch, cut)
            with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
                heard = self.listener(made.squeeze(1), real, spoken, mask)
            terms |= {prefix + name: value for name, value in heard.items()}
        return made, real.unsqueeze(1)

    def _render(
        self,
        latent: Tensor,
        style: Tensor,
        voiced: Tensor,
        terms: dict[str, Tensor],
        prefix: str,
    ) -> Tensor:
        """Run the decoder; a harmonic one keeps its phases in fp32 and only its filters in bf16."""
        decoder = self.network.decoder
        source = latent[:, self.config.latent_dim :]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            if not isinstance(decoder, HarmonicDecoder):
                made: Tensor = decoder(latent, style)
                return made.float()
            filters = decoder.filters(latent[:, : self.config.latent_dim], source[:, :1], style)
        filters = filters.float()
        if self.settings.voicing_weight > 0:
            terms[f"{prefix}voicing"] = losses.voicing_error(filters, voiced)
        return decoder.render(filters, source)

    def _judge(self, wave: Tensor) -> list[Verdict]:
        assert self.judges is not None
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.autocast):
            verdicts: list[Verdict] = self.judges(wave)
        return verdicts

    def _train_judges(self, made: Tensor, real: Tensor) -> float:
        assert self.judges is not None
        self.judges.requires_grad_(True)
        loss = losses.discriminator_loss(self._judge(real), self._judge(made))
        loss.backward()  # type: ignore[no-untyped-call]
        clip_and_step(
            [self.optimizers["judges"]], list(self.judges.parameters()), self.loop.max_gradient
        )
        self.judges.requires_grad_(False)
        return loss.item()


def compress(spec: Tensor) -> Tensor:
    """Return the spectrogram the posterior reads: log magnitude, about -1 to 3.

    The posterior is trained here and used nowhere else, so its input is ours to choose.
    """
    return 0.3 * torch.log(spec + 1e-3) + 1.0


def _spoken(batch: AcousticBatch, cut: slice) -> tuple[Tensor, Tensor]:
    """Return the phoneme of every second frame of a slice, int64 [B, F / 2], and its mask."""
    count = (cut.stop - cut.start) // FRAMES_PER_TOKEN
    place = batch.place[:, cut][:, ::FRAMES_PER_TOKEN][:, :count]
    phonemes = batch.phonemes.gather(1, place.clamp(min=0))
    mask = batch.mask[:, 0, cut][:, ::FRAMES_PER_TOKEN][:, :count]
    return torch.where(place >= 0, phonemes, -1), mask


def _pitch_error(cycles: Tensor, batch: AcousticBatch) -> Tensor:
    """Mean error in octaves; unvoiced frames, whose pitch is a guess, count a tenth."""
    target = torch.where(batch.mask > 0, batch.cycles, cycles.detach())
    error = (torch.log2(cycles) - torch.log2(target)).abs()
    return losses.masked_mean(error, batch.mask * (0.1 + 0.9 * batch.voiced))
