"""How often a quantised T2S says the same as the full one: the figure that decides over it.

A relative error of logits says little; what matters is which token comes next. Both variants get
the same past (that of the full one), and the share of steps where both would choose the same token
is reported, with the share where the full one's choice is among the other's five best.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.backends.onnx_semantic import OnnxSemantic
from engine.backends.onnx_session import open_session
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest, check_file
from engine.pack import Pack
from engine.sampling import Sampler
from engine.types import SynthesisParams

_PROMPT_PHONEMES, _PROMPT_TOKENS = 24, 40


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of two precisions, over all steps of some sentences."""

    steps: int
    same_choice: float  # share of steps with the same best token
    in_five_best: float  # share where the full precision's best is among the other's five best


def token_agreement(
    pack: Pack, precision: str = "int8", *, sentences: int = 4, steps: int = 60
) -> Agreement:
    """Compare a precision with fp32 on random phonemes, sampled with upstream's defaults.

    Raises:
        CheckpointError: The precision was not exported.
    """
    full, other = _decoder(pack, "fp32"), _decoder(pack, precision)
    sizes = pack.config.t2s
    params = SynthesisParams()
    same = near = total = 0
    for sentence in range(sentences):
        rng = np.random.default_rng(sentence)
        phonemes = rng.integers(0, sizes.num_phonemes, _PROMPT_PHONEMES + 10 + sentence)
        prompt = rng.integers(0, sizes.eos, _PROMPT_TOKENS)
        sampler = Sampler(params, prompt, vocab_size=sizes.vocab_size)
        one, two = (d.prefill(0, phonemes, None, prompt) for d in (full, other))
        while sampler.stopped is None and sampler.step < steps:
            best = int(one.argmax())
            same += best == int(two.argmax())
            near += best in np.argsort(two)[-5:]
            total += 1
            noise = rng.exponential(size=sizes.vocab_size).astype(np.float32)
            token = sampler.draw(one, noise)
            if token is not None:
                one, two = (d.decode([0], np.array([token]))[0] for d in (full, other))
        for decoder in (full, other):
            decoder.release(0)
    return Agreement(total, same / total, near / total)


def _decoder(pack: Pack, precision: str) -> OnnxSemantic:
    folder = pack.graphs_dir
    manifest = ExportManifest.load(folder, pack_fingerprint=pack.fingerprint)
    weights = GraphWeights(pack)
    prefill, step = (
        open_session(
            check_file(folder, record), threads=1, initializers=weights.load(record.weights)
        )
        for record in (manifest.record(graph, precision) for graph in ("prefill", "step"))
    )
    return OnnxSemantic(pack.config.t2s, prefill, step, num_slots=1, max_positions=512)
