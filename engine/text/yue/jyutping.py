"""Jyutping syllables as the symbols of the inventory: an initial and a final with its tone.

Where a syllable is cut is a fact of the checkpoints: at the first initial of text/cantonese.py
@48b1a01 that begins it, vowels among them, so `aan1` is `aa` + `n1`, and a syllable that is an
initial as a whole repeats its last letter: `m4` is `m` + `m4`, `aa3` is `aa` + `a3`.
"""

from __future__ import annotations

import re

_SYLLABLE = re.compile(
    "(?P<initial>aa|ai|au|ap|at|ak|a|p|b|e|t|d|kw|k|gw|g|f|h|l|m|ng|n|s|w|c|z|j"
    "|ong|on|ou|oi|ok|o|uk|ung)(?P<final>[a-z]*)(?P<tone>[1-6])"
)


def symbols(syllable: str) -> tuple[str, str] | None:
    """Return the two symbols of a syllable such as "gwong2", or None if it is none."""
    match = _SYLLABLE.fullmatch(syllable)
    if match is None:
        return None
    final = match["final"] or match["initial"][-1]
    return f"Y{match['initial']}", f"Y{final}{match['tone']}"
