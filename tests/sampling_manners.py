"""Sampling parameters that take every way through the choice of a token."""

from __future__ import annotations

from engine.types import SynthesisParams

MANNERS = [
    SynthesisParams(),
    SynthesisParams(top_k=1),
    SynthesisParams(top_k=5, top_p=0.8, temperature=0.6, repetition_penalty=2.0),
    SynthesisParams(top_k=1025, top_p=0.3, temperature=1.5, repetition_penalty=1.0),
    SynthesisParams(top_k=40, top_p=0.99),
    SynthesisParams(top_p=0.01, temperature=0.01),
]
