"""The acoustic graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnxruntime as ort

from engine.backends.base import PriorStats, TextEncoding
from engine.backends.onnx_session import run
from engine.errors import InvalidParameter
from engine.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class AcousticSizes:
    """What the graphs do not say themselves, from the manifest and the model's numbers."""

    sample_rate_hz: int
    hop: int
    latent_dim: int
    source_rows: int
    flow_halo: int
    decoder_halo: int
    drops_context: bool  # the decoder graph takes context apart from the frames to be heard
    num_phonemes: int
    codebook_size: int
    decoder_widths: Sequence[int] = ()


class OnnxAcoustic:
    """See `AcousticModel`."""

    def __init__(
        self,
        sizes: AcousticSizes,
        *,
        text: ort.InferenceSession,
        prior: ort.InferenceSession,
        flow: ort.InferenceSession,
        decoder: ort.InferenceSession,
    ) -> None:
        self._sizes = sizes
        self._text = text
        self._prior = prior
        self._flow = flow
        self._decoder = decoder
        self.sample_rate_hz = sizes.sample_rate_hz
        self.hop = sizes.hop
        self.latent_dim = sizes.latent_dim
        self.source_rows = sizes.source_rows
        self.flow_halo = sizes.flow_halo
        self.decoder_halo = sizes.decoder_halo
        self.decoder_widths = sizes.decoder_widths

    def encode_text(self, phoneme_ids: IntArray, style: FloatArray) -> TextEncoding:
        """See `AcousticModel.encode_text`.

        Raises:
            InvalidParameter: If there is no phoneme or one outside the symbol set.
        """
        _check_ids("phoneme_ids", phoneme_ids, self._sizes.num_phonemes)
        keys, values, text_style = run(
            self._text, {"phoneme_ids": phoneme_ids[None], "style": style[None, :, None]}
        )
        memory = {"keys": keys, "values": values, "text_style": text_style}
        return TextEncoding(memory, len(phoneme_ids))

    def prior(self, tokens: IntArray, text: TextEncoding) -> PriorStats:
        """See `AcousticModel.prior`.

        Raises:
            InvalidParameter: If there is no token or one outside the codebook.
        """
        _check_ids("tokens", tokens, self._sizes.codebook_size)
        mean, log_std, attention = run(self._prior, {"tokens": tokens[None], **text.data})
        return PriorStats(mean[0], log_std[0], attention[0])

    def flow(self, latent: FloatArray, style: FloatArray) -> FloatArray:
        """See `AcousticModel.flow`."""
        flowed: FloatArray = run(
            self._flow, {"latent": latent[None], "style": style[None, :, None]}
        )[0][0]
        return flowed

    def decoder(
        self, latent: FloatArray, style: FloatArray, before: int = 0, after: int = 0
    ) -> FloatArray:
        """See `AcousticModel.decoder`."""
        inputs = {"flowed": latent[None], "style": style[None, :, None]}
        end = latent.shape[1] - after
        if self._sizes.drops_context:
            parts = {"before": latent[:, :before], "after": latent[:, end:]}
            inputs |= {"flowed": latent[None, :, before:end]}
            inputs |= {name: part[None] for name, part in parts.items()}
        samples: FloatArray = run(self._decoder, inputs)[0][0]
        if not self._sizes.drops_context:
            samples = samples[before * self.hop : end * self.hop]
        return samples


def _check_ids(name: str, ids: IntArray, size: int) -> None:
    if len(ids) == 0 or ids.min() < 0 or ids.max() >= size:
        raise InvalidParameter(name, ids.tolist(), f"at least one integer from 0 to {size - 1}")
