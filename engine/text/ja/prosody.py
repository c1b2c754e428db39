"""Phones with the marks of Japanese pitch: up `[`, down `]`, and the border of accent phrases.

The marks are those of Kurihara et al. 2021 ("Prosodic features control by symbols", IEICE Trans.
E104-D), which upstream's checkpoints were trained with (text/japanese.py @48b1a01). A border has no
symbol of its own in the inventories, so packs know it as UNK; v1 packs know none of the marks.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.text.ja.openjtalk import Label

RISE, FALL, BORDER, PAUSE = "[", "]", "#", "_"
_VOWELS = frozenset("aeiou")
_NUCLEI = _VOWELS | {"N", "cl"}  # what a mora ends with


def moras(labels: Sequence[Label]) -> list[list[str]]:
    """Return the symbols of every mora, marks after their phone; a pause is one by itself.

    Args:
        labels: Of one piece, with the silences at both ends.
    """
    found: list[list[str]] = []
    is_open = False
    for label, following in zip(labels, labels[1:], strict=False):
        if label.phone == "sil":
            continue
        if label.phone == "pau":
            found.append([PAUSE])
            is_open = False
            continue
        # Devoiced vowels come in capitals; the checkpoints do not tell them apart.
        phone = label.phone.lower() if label.phone in "AEIOU" else label.phone
        if not is_open:
            found.append([])
        found[-1].append(phone)
        found[-1] += _mark(phone, label, following)
        is_open = phone not in _NUCLEI
    return found


def _mark(phone: str, label: Label, following: Label) -> list[str]:
    if label.left == 1 and following.at == 1 and phone in _NUCLEI:
        return [BORDER]
    is_next_mora = following.at == label.at + 1
    if label.to_accent == 0 and is_next_mora and label.at != label.moras:
        return [FALL]
    if label.at == 1 and following.at == 2:
        return [RISE]
    return []
