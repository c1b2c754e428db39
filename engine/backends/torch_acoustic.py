"""The acoustic network on torch: the reference every other backend is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.backends.base import PriorStats, TextEncoding
from engine.errors import InvalidParameter
from engine.models.acoustic import AcousticNetwork
from engine.models.decoder import Context
from engine.models.prior import TextMemory
from engine.types import FloatArray, IntArray


class TorchAcoustic:
    """`AcousticModel` over a network; also the enrolment's half of it.

    Takes the network over: it is switched to inference, its weight norm folded, its posterior
    dropped.
    """

    def __init__(self, network: AcousticNetwork, device: str | torch.device = "cpu") -> None:
        network.prepare_inference()
        self._network = network.to(device)
        self._device = torch.device(device)
        config = network.config
        self._config = config
        self.sample_rate_hz = config.sample_rate_hz
        self.hop = config.hop
        self.latent_dim = config.latent_dim
        self.source_rows = network.source_rows
        self.flow_halo = network.flow_halo
        self.decoder_halo = network.decoder_halo
        self.decoder_widths: Sequence[int] = ()

    def encode_text(self, phoneme_ids: IntArray, style: FloatArray) -> TextEncoding:
        """Encode the target phonemes, int64 [P], under style vector float32 [G].

        Raises:
            InvalidParameter: If there is no phoneme or one outside the symbol set.
        """
        _check_ids("phoneme_ids", phoneme_ids, self._config.num_phonemes)
        with torch.inference_mode():
            memory = self._network.encode_text(self._ids(phoneme_ids), self._style(style))
        return TextEncoding(memory, len(phoneme_ids))

    def prior(self, tokens: IntArray, text: TextEncoding) -> PriorStats:
        """Return statistics of the 2T frames of `tokens`, int64 [T], which is all it sees.

        Raises:
            InvalidParameter: If there is no token or one outside the codebook.
        """
        _check_ids("tokens", tokens, self._config.codebook_size)
        memory = text.data
        assert isinstance(memory, TextMemory), "a text encoding of another backend"
        with torch.inference_mode():
            output = self._network.prior_stats(self._ids(tokens), memory)
        return PriorStats(_numpy(output.mean), _numpy(output.log_std), _numpy(output.attention))

    def flow(self, latent: FloatArray, style: FloatArray) -> FloatArray:
        """Run the reversed flow: float32 [D, F] -> [D, F], or [D + 1, F] with source rows."""
        with torch.inference_mode():
            return _numpy(self._network.flow_reverse(self._batch(latent), self._style(style)))

    def decoder(
        self, latent: FloatArray, style: FloatArray, before: int = 0, after: int = 0
    ) -> FloatArray:
        """See `AcousticModel.decoder`."""
        context = Context(before, after)
        with torch.inference_mode():
            return _numpy(self._network.decode(self._batch(latent), self._style(style), context)[0])

    def semantic_tokens(self, ssl: FloatArray) -> IntArray:
        """Return the tokens, int64 [T], of SSL features float32 [S, 2T] at 50 Hz."""
        with torch.inference_mode():
            tokens: IntArray = self._network.extract_codes(self._batch(ssl))[0].cpu().numpy()
        return tokens

    def style_vector(
        self, specs: Sequence[FloatArray], embeddings: Sequence[FloatArray] = ()
    ) -> FloatArray:
        """Return the style float32 [G] of one or several references, averaged.

        Args:
            specs: Linear spectrograms float32 [bins, F], one per reference.
            embeddings: Their speaker embeddings float32 [speaker_dim]; none where the model has
                no speaker input.

        Raises:
            InvalidParameter: If the number or the size of the embeddings does not fit the model.
        """
        size = self._config.speaker_dim
        expected = len(specs) if size else 0
        if len(embeddings) != expected or any(e.shape != (size,) for e in embeddings):
            shapes = [list(embedding.shape) for embedding in embeddings]
            raise InvalidParameter("embeddings", shapes, f"{expected} of [{size}]")
        speakers = [self._batch(embedding) for embedding in embeddings]
        with torch.inference_mode():
            style = self._network.style_vector([self._batch(s) for s in specs], speakers or None)
        return _numpy(style)[:, 0]

    def _batch(self, array: FloatArray) -> Tensor:
        return torch.from_numpy(array).to(self._device, torch.float32).unsqueeze(0)

    def _ids(self, ids: IntArray) -> Tensor:
        return torch.from_numpy(ids).to(self._device).unsqueeze(0)

    def _style(self, style: FloatArray) -> Tensor:
        return self._batch(style).unsqueeze(2)


def _numpy(batch: Tensor) -> FloatArray:
    """The first row of a batch."""
    row: FloatArray = batch[0].float().cpu().numpy()
    return row


def _check_ids(name: str, ids: IntArray, size: int) -> None:
    if ids.ndim != 1 or len(ids) == 0 or ids.min() < 0 or ids.max() >= size:
        raise InvalidParameter(name, ids.tolist(), f"at least one integer from 0 to {size - 1}")
