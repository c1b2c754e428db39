"""The Chinese BERT's vocabulary: one token per character."""

from __future__ import annotations

from collections.abc import Sequence

from engine.errors import CheckpointError

_MARKS = ("[CLS]", "[SEP]", "[UNK]")


class CharacterVocab:
    """One token per character, as Chinese BERTs see Chinese text."""

    def __init__(self, tokens: Sequence[str]) -> None:
        """Index the tokens of a vocab.txt, in order of id.

        Raises:
            CheckpointError: If [CLS], [SEP] or [UNK] is missing.
        """
        self._ids = {token: index for index, token in enumerate(tokens)}
        if missing := [mark for mark in _MARKS if mark not in self._ids]:
            raise CheckpointError(f"the BERT's vocab.txt has no {', '.join(missing)}")

    def encode(self, text: str) -> list[int]:
        """Return [CLS], one id per character (the vocabulary is lower case), [SEP]."""
        unknown = self._ids["[UNK]"]
        characters = [self._ids.get(character.lower(), unknown) for character in text]
        return [self._ids["[CLS]"], *characters, self._ids["[SEP]"]]
