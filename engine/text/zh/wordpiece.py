"""BERT's tokenizer for Chinese, as far as g2pW needs it: one token per character, mostly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from engine.errors import BackendUnavailable

_PIECE = re.compile(r"[a-z0-9]+|[^ ]")


class WordPiece:
    """A vocabulary and the greedy longest-match-first split of words.

    Args:
        ids: Id of every token; continuations begin with `##`.
    """

    def __init__(self, ids: Mapping[str, int]) -> None:
        self._ids = ids
        self._unknown = ids["[UNK]"]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read `vocab.txt`: one token per line, the line number is its id.

        Raises:
            BackendUnavailable: It is no BERT vocabulary.
        """
        tokens = path.read_text(encoding="utf-8").splitlines()
        ids = {token: index for index, token in enumerate(tokens)}
        for needed in ("[UNK]", "[CLS]", "[SEP]"):
            if needed not in ids:
                raise BackendUnavailable(f"{path} is no BERT vocabulary: it lacks {needed}")
        return cls(ids)

    def encode(self, text: str) -> tuple[list[int], list[int]]:
        """Return token ids with [CLS] and [SEP], and the index among them of every character.

        Args:
            text: Lower case. Blanks have no token; their index is that of what follows.
        """
        ids = [self._ids["[CLS]"]]
        positions = [0] * len(text)
        done = 0
        for match in _PIECE.finditer(text):
            positions[done : match.start()] = [len(ids)] * (match.start() - done)
            at = match.start()
            for length, token in self._split(match[0]):
                positions[at : at + length] = [len(ids)] * length
                ids.append(token)
                at += length
            done = match.end()
        ids.append(self._ids["[SEP]"])
        return ids, positions

    def _split(self, word: str) -> list[tuple[int, int]]:
        """Return (number of characters, id) of every piece; one unknown if no split exists."""
        pieces: list[tuple[int, int]] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            for end in range(len(word), start, -1):
                token = self._ids.get(prefix + word[start:end])
                if token is not None:
                    pieces.append((end - start, token))
                    start = end
                    break
            else:
                return [(len(word), self._unknown)]
        return pieces
