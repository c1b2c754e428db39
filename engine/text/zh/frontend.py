"""The Chinese frontend: raw text to characters with phonemes and places in the source."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from engine.model_config import SymbolSet
from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle, Spoken
from engine.text.symbols import PUNCTUATION, symbol_table
from engine.text.zh.g2p import Pronouncer
from engine.text.zh.normalize import normalize
from engine.text.zh.polyphones import PinyinSource


class ChineseFrontend:
    """Chinese text to the phonemes of one symbol set.

    Args:
        symbol_set: The pack's inventory.
        g2pw_dir: Folder of the g2pW model; readings come from pypinyin's phrases without it.

    Raises:
        BackendUnavailable: `g2pw_dir` is given and holds no usable model.
    """

    def __init__(self, symbol_set: SymbolSet, g2pw_dir: Path | None = None) -> None:
        self._table = symbol_table(symbol_set)
        self._pronouncer = Pronouncer(self._table, self._source(g2pw_dir))

    @staticmethod
    def _source(g2pw_dir: Path | None) -> PinyinSource | None:
        if g2pw_dir is None:
            return None
        from engine.text.zh.g2pw import G2pw

        return G2pw.load(g2pw_dir)

    def normalize(
        self, text: MappedText | str, *, digits: DigitStyle = DigitStyle.AUTO
    ) -> MappedText:
        """Return `text` in words; foreign words stay as they are. See normalize.normalize."""
        return normalize(MappedText.of(text) if isinstance(text, str) else text, digits=digits)

    def phonemize(
        self,
        text: MappedText | str,
        overrides: Mapping[int, str] | None = None,
        *,
        digits: DigitStyle = DigitStyle.AUTO,
    ) -> list[Spoken]:
        """Return the characters of `text` as spoken, two symbols for a syllable.

        Args:
            text: Raw or already normalized Chinese; normalizing twice changes nothing. Foreign
                words have no place here and are left out.
            overrides: Readings (`hang2`) by source offset of the character they are for.
            digits: See normalize.normalize.
        """
        spoken = self.normalize(text, digits=digits)
        kept = _spoken_indices(spoken.text)
        chars = "".join(spoken.text[i] for i in kept)
        fixed = {
            at: overrides[spoken.starts[i]]
            for at, i in enumerate(kept)
            if overrides
            and spoken.starts[i] in overrides
            and spoken.ends[i] == spoken.starts[i] + 1  # not a word made of several characters
            and chars[at] not in PUNCTUATION
        }
        phones = self._pronouncer.phones(chars, fixed)
        return [
            Spoken(spoken.text[i], phones[at], spoken.starts[i], spoken.ends[i])
            for at, i in enumerate(kept)
        ]


def _spoken_indices(text: str) -> list[int]:
    """Return where the Han characters and marks are; of two marks that meet, the first."""
    kept: list[int] = []
    for i, char in enumerate(text):
        is_mark = char in PUNCTUATION
        doubles = is_mark and bool(kept) and text[kept[-1]] in PUNCTUATION
        if (is_mark or char > "\u3000") and not doubles:
            kept.append(i)
    return kept
