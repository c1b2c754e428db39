"""Overlap-save through flow and decoder: chunks that are the offline result, sample for sample.

Flow and decoder are centred convolutions of finite reach, so a frame's audio depends on
`flow_halo + decoder_halo` frames each side and on nothing else. Left context is kept; right
context is whatever the caller can give:

            already emitted          | this step, frozen | provisional
    latent  ......[flow_halo kept]   | ################# | ~~~~~~~~~~~
    flowed     ...[decoder_halo kept]| ################# | ~~~~~~~~~~~
    audio   ......................   | ################# | (dropped; comes again next step)

With >= 43 provisional frames that turn out true (or none at the sentence's end) the audio equals
a whole decode; with fewer, the error sits in the last frames before the border. The flow's output
is kept, so the decoder, nine tenths of the cost, repeats only `decoder_halo` frames on the left,
and a decoder that is told what is context only spends little on it (`engine.models.decoder`). A
decoder that is best called with few lengths gets them (`engine.decoder_pieces`).

A harmonic decoder (`engine.models.harmonic`) needs the phase of the voice at each frame, a running
sum over the whole sentence. Its flow's last row says how many cycles each frame has; the sum is
kept here, and phase and number of each frame are added as rows for the decoder.
"""

from __future__ import annotations

import numpy as np

from engine.backends.base import AcousticModel
from engine.decoder_pieces import cut_pieces
from engine.model_config import NOISE_FRAMES
from engine.types import FloatArray


class LatentStream:
    """One sentence's way from prior samples to waveform. Not thread-safe."""

    def __init__(self, model: AcousticModel, style: FloatArray) -> None:
        self._model = model
        self._style = style
        # The last <= flow_halo frozen frames before the flow, and those a decoder call may reach
        # back to, as the decoder takes them.
        self._latent_tail = np.zeros((model.latent_dim, 0), np.float32)
        self._decoder_tail = np.zeros((model.latent_dim + model.source_rows, 0), np.float32)
        self._reach = model.decoder_halo + min(model.decoder_widths, default=0)
        self._num_frozen = 0
        self._phase = 0.0  # of the first frame not frozen yet, in cycles, modulo 1
        self.num_frames_decoded = 0  # frames given to the decoder, halos included: the real work

    def step(self, frozen: FloatArray, provisional: FloatArray) -> FloatArray:
        """Return the audio of `frozen`.

        Args:
            frozen: float32 [D, F], F >= 1: the next frames, final.
            provisional: float32 [D, R], R >= 0: best guess of the frames after them; give none
                when `frozen` ends the sentence. Frames beyond the halos are not looked at.

        Returns:
            float32 [F * hop].
        """
        model = self._model
        num_frozen = frozen.shape[1]
        ahead = provisional[:, : model.flow_halo + model.decoder_halo]
        latent = np.concatenate([self._latent_tail, frozen, ahead], axis=1)
        flowed = model.flow(latent, self._style)[:, self._latent_tail.shape[1] :]
        flowed = flowed[:, : num_frozen + model.decoder_halo]
        if model.source_rows:
            flowed = self._add_source(flowed, num_frozen)

        past = self._decoder_tail.shape[1]
        window = np.concatenate([self._decoder_tail, flowed], axis=1)
        samples = self._decode(window, past, num_frozen)

        frozen_end = self._latent_tail.shape[1] + num_frozen
        self._latent_tail = latent[:, max(0, frozen_end - model.flow_halo) : frozen_end]
        frozen_end = past + num_frozen
        self._decoder_tail = window[:, max(0, frozen_end - self._reach) : frozen_end]
        self._num_frozen += num_frozen
        return samples

    def _decode(self, window: FloatArray, past: int, new: int) -> FloatArray:
        """Return the audio of the `new` frames of a window behind its first `past`."""
        model = self._model
        ahead = window.shape[1] - past - new
        parts = []
        for piece in cut_pieces(
            past, new, ahead, halo=model.decoder_halo, widths=model.decoder_widths
        ):
            part = window[:, piece.start - piece.before : piece.end + piece.after]
            self.num_frames_decoded += part.shape[1]
            samples = model.decoder(part, self._style, piece.before, piece.after)
            parts.append(samples[piece.skip * model.hop :])
        return np.concatenate(parts)

    def _add_source(self, flowed: FloatArray, num_frozen: int) -> FloatArray:
        """Return [D + 3, F] of [D + 1, F], and move the phase past the frozen frames."""
        cycles = flowed[-1].astype(np.float64)
        ends = self._phase + np.cumsum(cycles)
        phases = (ends - cycles) % 1.0
        numbers = (self._num_frozen + np.arange(len(cycles))) % NOISE_FRAMES
        self._phase = float(ends[num_frozen - 1] % 1.0)
        return np.concatenate([flowed, phases[None], numbers[None]]).astype(np.float32)
