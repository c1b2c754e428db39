"""g2pW: a BERT that picks the reading of every polyphonic character of a clause.

The model folder is the published G2PWModel 1.1 (`g2pW.onnx`, `POLYPHONIC_CHARS.txt`,
`MONOPHONIC_CHARS.txt`, `bopomofo_to_pinyin_wo_tune_dict.json`, `config.py`) plus `vocab.txt` of
bert-base-chinese or chinese-roberta-wwm-ext-large, which are the same. Its `config.py` is read as
text and never run.
"""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from engine.errors import BackendUnavailable
from engine.text.zh.polyphones import PARTICLES, Reading, corrections, dictionary_pinyin, is_phrase
from engine.text.zh.wordpiece import WordPiece
from engine.text.zh.words import Token
from engine.types import FloatArray, IntArray

logger = logging.getLogger(__name__)

# Characters the model is not asked about and those whose listed reading is not trusted.
# Source: upstream text/g2pw/onnx_api.py @48b1a01.
_NOT_ASKED = frozenset("一不和咋嗲剖差攢倒難奔勁拗肖瘙誒泊听噢")
_NOT_TRUSTED = frozenset("似攢")
_CONTEXT_CHARS = 16  # on either side of the outermost polyphonic characters
_FILES = ("POLYPHONIC_CHARS.txt", "MONOPHONIC_CHARS.txt", "bopomofo_to_pinyin_wo_tune_dict.json")


@dataclass(frozen=True, slots=True)
class _Tables:
    """What the model's text files say.

    Attributes:
        labels: Reading of every output column, in bopomofo with a tone digit.
        columns: Columns a polyphonic character may take.
        char_ids: The `char_ids` input of every polyphonic character.
        monophonic: The one reading of other characters, in bopomofo.
        pinyin: Pinyin letters of a bopomofo syllable without its tone.
        masked: Whether impossible readings are masked (`use_mask`).
    """

    labels: tuple[str, ...]
    columns: Mapping[str, tuple[int, ...]]
    char_ids: Mapping[str, int]
    monophonic: Mapping[str, str]
    pinyin: Mapping[str, str]
    masked: bool

    def to_pinyin(self, bopomofo: str) -> str | None:
        """Return `hang2` for ㄏㄤ2, or None if the table lacks it."""
        letters = self.pinyin.get(bopomofo[:-1])
        return f"{letters}{bopomofo[-1]}" if letters else None


class G2pw:
    """Readings by the g2pW model; phrases of pypinyin's dictionary overrule it, as upstream.

    Use `load`.
    """

    def __init__(
        self, session: Any, tables: _Tables, vocabulary: WordPiece, to_traditional: Any
    ) -> None:
        self._session = session
        self._tables = tables
        self._vocabulary = vocabulary
        self._to_traditional = to_traditional
        self._shares_text = self._probe()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Open the model in `folder`.

        Raises:
            BackendUnavailable: A file or the package opencc is missing.
        """
        model = next((p for p in (folder / "g2pW.onnx", folder / "g2pw.onnx") if p.is_file()), None)
        missing = [name for name in (*_FILES, "vocab.txt") if not (folder / name).is_file()]
        if model is None:
            missing.insert(0, "g2pW.onnx")
        if model is None or missing:
            raise BackendUnavailable(
                f"g2pW folder {folder} lacks {', '.join(missing)}: unpack G2PWModel_1.1 there and "
                "add vocab.txt of bert-base-chinese, or start without g2pW"
            )
        try:
            import opencc
        except ImportError:
            raise BackendUnavailable(
                "g2pW needs opencc: pip install 'sovits-live[zh-g2pw]'"
            ) from None
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = 2
        options.log_severity_level = 4  # the probe may fail on purpose
        session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        tables = _read_tables(folder)
        return cls(session, tables, WordPiece.read(folder / "vocab.txt"), opencc.OpenCC("s2tw"))

    def read(self, tokens: Sequence[Token]) -> list[Reading]:
        """Return the readings of `tokens`; see polyphones.PinyinSource."""
        by_char = self._clause("".join(token.text for token in tokens))
        read: list[Reading] = []
        done = 0
        for token in tokens:
            word = token.text
            pinyins = by_char[done : done + len(word)]
            done += len(word)
            read.append(_corrected(word, pinyins))
        return read

    def _clause(self, clause: str) -> list[str]:
        traditional = self._traditional(clause)
        read = list(dictionary_pinyin(clause))
        asked = []
        for i, char in enumerate(traditional):
            if char in self._tables.char_ids and char not in _NOT_ASKED:
                asked.append(i)
            elif char in self._tables.monophonic:
                read[i] = self._tables.to_pinyin(self._tables.monophonic[char]) or read[i]
        for i, label in zip(asked, self._ask(traditional, asked), strict=True):
            read[i] = self._tables.to_pinyin(label) or read[i]
        return read

    def _traditional(self, clause: str) -> str:
        converted: str = self._to_traditional.convert(clause)
        if len(converted) == len(clause):
            return converted
        singles = (self._to_traditional.convert(char) for char in clause)
        return "".join(
            new if len(new) == 1 else char for new, char in zip(singles, clause, strict=True)
        )

    def _ask(self, clause: str, asked: Sequence[int]) -> list[str]:
        """Return the label of every character of `asked`."""
        if not asked:
            return []
        start = max(0, asked[0] - _CONTEXT_CHARS)
        window = clause[start : asked[-1] + _CONTEXT_CHARS + 1].lower()
        ids, positions = self._vocabulary.encode(window)
        tables = self._tables
        chars = [clause[i] for i in asked]
        mask = np.full((len(asked), len(tables.labels)), 0.0 if tables.masked else 1.0, np.float32)
        if tables.masked:
            for row, char in enumerate(chars):
                mask[row, list(tables.columns[char])] = 1.0
        probabilities = self._run(
            ids,
            mask,
            np.array([tables.char_ids[char] for char in chars], dtype=np.int64),
            np.array([positions[i - start] for i in asked], dtype=np.int64),
            rows=1 if self._shares_text else len(asked),
        )
        return [tables.labels[column] for column in np.argmax(probabilities, axis=1)]

    def _run(
        self, ids: Sequence[int], mask: FloatArray, chars: IntArray, positions: IntArray, rows: int
    ) -> FloatArray:
        text: IntArray = np.tile(np.array(ids, dtype=np.int64), (rows, 1))
        feeds = {
            "input_ids": text,
            "token_type_ids": np.zeros_like(text),
            "attention_mask": np.ones_like(text),
            "phoneme_mask": mask,
            "char_ids": chars,
            "position_ids": positions,
        }
        probabilities: FloatArray = self._session.run(None, feeds)[0]
        return probabilities

    def _probe(self) -> bool:
        """Whether one row of text serves many queries: the BERT then runs once per clause."""
        ids, positions = self._vocabulary.encode("一二三四")
        mask = np.ones((2, len(self._tables.labels)), np.float32)
        chars, at = np.zeros(2, np.int64), np.array(positions[1:3], dtype=np.int64)
        whole = self._run(ids, mask, chars, at, rows=2)
        try:
            shared = self._run(ids, mask, chars, at, rows=1)
        except Exception as error:  # onnxruntime's own classes, none of them public
            logger.info("g2pW graph wants the text once per query: %.200s", error)
            return False
        return shared.shape == whole.shape and bool(np.allclose(shared, whole, atol=1e-5))


def _corrected(word: str, pinyins: Sequence[str]) -> Reading:
    """Overrule the model where a dictionary lists the whole word."""
    if word in corrections() and len(word) > 1:
        return Reading(corrections()[word])
    if is_phrase(word):
        return Reading(dictionary_pinyin(word))
    # 得 dei3 and 地 di4 would lose their tone to the rule for the particles.
    full = frozenset(
        i
        for i, (char, pinyin) in enumerate(zip(word, pinyins, strict=True))
        if char in PARTICLES and pinyin[:-1] not in ("de", "le", "zhe")
    )
    return Reading(tuple(pinyins), full)


def _read_tables(folder: Path) -> _Tables:
    pairs = _pairs(folder / "POLYPHONIC_CHARS.txt")
    flags = _flags(folder / "config.py")
    by_char = bool(flags.get("use_char_phoneme", False))
    names = sorted({f"{char} {reading}" if by_char else reading for char, reading in pairs})
    column = {name: i for i, name in enumerate(names)}
    columns: dict[str, list[int]] = {}
    for char, reading in pairs:
        name = f"{char} {reading}" if by_char else reading
        columns.setdefault(char, []).append(column[name])
    pinyin = json.loads((folder / _FILES[2]).read_text(encoding="utf-8"))
    return _Tables(
        labels=tuple(name.split(" ")[-1] for name in names),
        columns={char: tuple(indices) for char, indices in columns.items()},
        char_ids={char: i for i, char in enumerate(sorted(columns))},
        monophonic={
            char: reading
            for char, reading in _pairs(folder / "MONOPHONIC_CHARS.txt")
            if char not in _NOT_TRUSTED
        },
        pinyin=pinyin,
        masked=bool(flags.get("use_mask", True)),
    )


def _pairs(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").strip().split("\n")
    rows = [line.split("\t") for line in lines]
    if any(len(row) != 2 for row in rows):
        raise BackendUnavailable(f"{path} is damaged: every line must be a character and a reading")
    return [(char, reading.strip()) for char, reading in rows]


def _flags(path: Path) -> dict[str, object]:
    """Return the literal assignments of the model's config.py, without running it."""
    if not path.is_file():
        return {}
    flags: dict[str, object] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            for target in node.targets:
                if isinstance(target, ast.Name):
                    flags[target.id] = node.value.value
    return flags
