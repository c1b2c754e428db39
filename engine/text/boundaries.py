"""Where a growing text may be cut: one pass, one character at a time, nothing read twice.

`BoundaryScanner` is pushed characters and answers with the boundaries that became certain. It
decides *where* a cut is harmless; *whether* to cut there is the schedule of `splitter.py`.

A **mark** is punctuation that ends a clause (SOFT) or a sentence (HARD). A full stop, comma or
colon inside `19.9`, `v2.0`, `12:30`, `a.b@c.de` or a URL is not a mark, which is known only when
the run of such characters ends; so those wait for the next character, while `！` and `。` do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from engine.text.marks import (
    ABBREVIATIONS,
    AFTER_DIGIT_JOINERS,
    CLOSERS,
    GROWING_MARKS,
    HARD_PAUSE_MS,
    PAIRS,
    RUN_END_MARKS,
    RUN_JOINERS,
    RUN_STARTERS,
    SOFT_PAUSE_MS,
    WORD_LETTERS_PER_WEIGHT,
    ZWJ,
    Stop,
    classify_stop,
    is_extender,
    is_han,
    is_hangul,
    is_hiragana,
    is_kana,
    is_regional,
    is_wide,
    is_word_letter,
)

QUOTE_GUARD_WEIGHT = 40  # a quote not closed by then was no quote
MAX_TAG_CHARS = 200  # SSML or HTML; what is longer was no tag
_CONTINUES_KANA = frozenset("ーァィゥェォッャュョヮヵヶンｰ")
_PREFIXES = frozenset("おご")  # of politeness: お茶, ご飯
LONGEST_WORD = 40  # what is longer is no word before a full stop


class Strength(IntEnum):
    """How much of an end a mark is."""

    SOFT = 1  # a clause
    HARD = 2  # a sentence


@dataclass(frozen=True, slots=True)
class Place:
    """A position between two characters and what came before it, counted from the beginning."""

    position: int = 0  # characters
    weight: int = 0
    content: int = 0  # letters and digits: what can be spoken


@dataclass(frozen=True, slots=True)
class Boundary(Place):
    """A place after a mark."""

    strength: Strength = Strength.SOFT
    pause_ms: int = 0


class BoundaryScanner:
    """Finds boundaries in a text that arrives one character at a time.

    Attributes:
        here: The end of what was pushed.
        tentative: The boundary right here, still able to grow ("！" may become "！”"), or None.
        last_mark: The last mark, also one inside quotes: where to cut if a cut must be made.
        last_safe: The last gap between words, or between two han of a text without kana, or
            before a Japanese phrase; None if there was none.
        last_break: The last gap between graphemes, even inside a word.
    """

    def __init__(self) -> None:
        self.here = Place()
        self.tentative: Boundary | None = None
        self.last_mark: Boundary | None = None
        self.last_safe: Place | None = None
        self.last_break = Place()
        self._previous = " "
        self._before_previous = " "
        self._word_letters = 0  # of the word being read
        self._regionals = 0  # consecutive regional indicators; two make a flag
        self._quotes: list[tuple[str, int]] = []  # closer awaited, weight where it was opened
        self._ticks = 0  # consecutive backticks just read
        self._in_fence = False
        self._tag_chars = 0  # read since "<", 0 outside
        self._run: list[str] = []  # letters, digits and what glues them
        self._run_is_address = False  # URL, e-mail, version: "?" and "!" may be part of it
        self._run_at_line_start = False
        self._at_line_start = True
        self._unless_number: Boundary | None = None
        self._is_japanese = False  # kana were read

    @property
    def is_immediate(self) -> bool:
        """True if `tentative` may be cut at without waiting for the next character."""
        return (
            self.tentative is not None
            and self._previous not in GROWING_MARKS
            and not self._is_guarded()
        )

    @property
    def end_is_safe(self) -> bool:
        """True if a cut right here parts no word and no grapheme, whatever comes next."""
        ch = self._previous
        if self._run or self._tag_chars or self._ticks or ch == ZWJ:
            return False
        # In Japanese and Korean the word may go on.
        return ch.isspace() or (is_han(ch) and not self._is_japanese)

    def push(self, ch: str) -> Boundary | None:
        """Read one character; return the boundary that became certain by it, if any."""
        if self._tag_chars:
            self._push_tag(ch)
            return None
        if self._run:
            if self._joins_run(ch):
                self._extend_run(ch)
                return None
            self._end_run(ch)
        if self._ticks and ch != "`":
            self._end_ticks()
        if self.tentative is not None and self._absorb(ch):
            return None
        settled = self._settle_tentative()
        if self._unless_number is not None and not ch.isspace():
            settled = self._settle_number(is_number=ch.isdecimal())
        self._start(ch)
        return settled

    def settle(self, *, even_words: bool) -> Boundary | None:
        """Take what is here as complete because nothing came for a while.

        Args:
            even_words: Also a full stop after an ordinary word, which might have become a host
                name. Numbers and addresses are never taken as complete.
        """
        if even_words and self.may_settle():
            if self._run:
                self._end_run(" ")
            if self._unless_number is not None:
                return self._settle_number(is_number=False)
        return self._settle_tentative()

    def may_settle(self) -> bool:
        """Return True if a word with its full stop is open here, which silence would end."""
        if not self._run:
            return self._unless_number is not None
        if self._previous != ".":
            return False
        token = "".join(self._run[-LONGEST_WORD:-1])
        return len(token) > 1 and token.isalpha() and token.lower() not in ABBREVIATIONS

    def finish_here(self) -> int:
        """Forget what is open, for a cut right here; return the pause of the mark here in ms."""
        if self._run:
            self._end_run(" ")
        mark = self.tentative
        self.tentative = self._unless_number = None
        self._tag_chars = self._ticks = 0
        self._quotes.clear()
        self._at_line_start = mark is not None and mark.strength is Strength.HARD
        return mark.pause_ms if mark is not None else 0

    # What is open

    def _is_guarded(self) -> bool:
        if self._quotes and self.here.weight - self._quotes[0][1] > QUOTE_GUARD_WEIGHT:
            self._quotes.clear()
        return bool(self._quotes) or self._in_fence

    def _settle_tentative(self) -> Boundary | None:
        mark, self.tentative = self.tentative, None
        if mark is None:
            return None
        self.last_mark = mark
        if self._is_guarded():
            return None
        self._at_line_start = mark.strength is Strength.HARD
        return mark

    def _settle_number(self, *, is_number: bool) -> Boundary | None:
        """Decide "No. ", now that what follows the space is known."""
        self.tentative, self._unless_number = self._unless_number, None
        if is_number:
            self.tentative = None
        return self._settle_tentative()

    # Reading

    def _start(self, ch: str) -> None:
        """Read a character that continues nothing."""
        if ch in ".," and is_wide(self._previous):
            # No number or host name ends in these letters: the mark is one, as 。 is.
            self._advance(ch)
            if ch == ".":
                self._mark(Strength.HARD, HARD_PAUSE_MS[ch])
            else:
                self._mark_soft(ch)
            return
        if ch in RUN_STARTERS or is_word_letter(ch) or ch.isdecimal():
            self._run_at_line_start = self._at_line_start
            self._at_line_start = self._at_line_start and ch in "#-"
            self._run_is_address = False
            self._run = [ch]
            self._advance(ch)
            return
        self._advance(ch)
        if ch == "\n":
            self._quotes.clear()
            self._unless_number = None
            self._at_line_start = True
            self._mark(Strength.HARD, HARD_PAUSE_MS[ch])
        elif ch in HARD_PAUSE_MS:
            self._mark(Strength.HARD, HARD_PAUSE_MS[ch])
        elif ch in SOFT_PAUSE_MS:
            self._mark_soft(ch)
        elif ch == "`":
            self._ticks += 1
        elif ch == "<":
            self._tag_chars = 1
        elif ch in CLOSERS or ch in PAIRS:
            self._push_quote(ch)
        elif not (ch.isspace() or ch in "*>•"):
            self._at_line_start = False

    def _mark(self, strength: Strength, pause_ms: int) -> None:
        self.tentative = Boundary(
            self.here.position, self.here.weight, self.here.content, strength, pause_ms
        )

    def _mark_soft(self, ch: str) -> None:
        if ch == "、" and self._before_previous.isdecimal():
            return  # "1、" numbers a list, "1、2" counts
        self._mark(Strength.SOFT, SOFT_PAUSE_MS[ch])

    def _absorb(self, ch: str) -> bool:
        """Let more marks, closing quotes and one line end stick to the mark before them."""
        mark = self.tentative
        assert mark is not None
        if ch == '"' and not (self._quotes and self._quotes[-1][0] == '"'):
            return False  # opens
        is_dots = ch == self._previous == "."
        if (ch in RUN_JOINERS and not is_dots) or self._previous == "\n":
            return False
        if not (ch in HARD_PAUSE_MS or ch in SOFT_PAUSE_MS or ch in CLOSERS or is_extender(ch)):
            return False
        self._advance(ch)
        strength, pause_ms = mark.strength, mark.pause_ms
        if ch in HARD_PAUSE_MS:
            strength, pause_ms = Strength.HARD, max(pause_ms, HARD_PAUSE_MS[ch])
        if ch == "\n":
            self._quotes.clear()
        elif ch in CLOSERS:
            self._push_quote(ch)
        self._mark(strength, pause_ms)
        return True

    def _push_quote(self, ch: str) -> None:
        if self._in_fence:
            return
        if self._quotes and self._quotes[-1][0] == ch:
            self._quotes.pop()
        elif ch in PAIRS:
            self._quotes.append((PAIRS[ch], self.here.weight))

    def _end_ticks(self) -> None:
        ticks, self._ticks = self._ticks, 0
        if ticks >= 3:
            self._in_fence = not self._in_fence
        elif not self._in_fence and ticks == 1:
            if self._quotes and self._quotes[-1][0] == "`":
                self._quotes.pop()
            else:
                self._quotes.append(("`", self.here.weight))

    def _push_tag(self, ch: str) -> None:
        """Read inside "<...>", which weighs nothing and is never cut."""
        if self._tag_chars == 1 and not (ch.isalpha() and ch.isascii() or ch in "/!?"):
            self._tag_chars = 0  # "a < b"
            self._start(ch)
            return
        self._tag_chars += 1
        self._advance(ch, weight=0)
        if ch in ">\n" or self._tag_chars > MAX_TAG_CHARS:
            self._tag_chars = 0

    # Runs of letters, digits and glue

    def _joins_run(self, ch: str) -> bool:
        if ch == "’" and self._quotes and self._quotes[-1][0] == ch:
            return False
        if ch in RUN_JOINERS or ch.isdecimal() or is_word_letter(ch) or is_extender(ch):
            return True
        if ch in AFTER_DIGIT_JOINERS:
            return self._previous.isdecimal()
        return self._run_is_address and ch in "?!;"

    def _extend_run(self, ch: str) -> None:
        before = self._previous
        if ch in "@=" or (before == "." and ch.isalnum()) or (before == "/" and ch == "/"):
            self._run_is_address = True
        self._run.append(ch)
        self._advance(ch)

    def _end_run(self, following: str) -> None:
        """Decide what the punctuation at the end of the run is, now that the run has ended."""
        text = "".join(self._run)
        self._run = []
        token = text.rstrip(RUN_END_MARKS)
        marks = text[len(token) :]
        if not marks:
            return
        last = marks[-1]
        if last in SOFT_PAUSE_MS:
            self._mark(Strength.SOFT, SOFT_PAUSE_MS[last])
            return
        if last in ".．" and len(marks) == 1:
            stop = classify_stop(token, at_line_start=self._run_at_line_start)
            if stop is Stop.PART:
                return
            if stop is Stop.END_UNLESS_NUMBER and following.isspace():
                here = self.here
                self._unless_number = Boundary(
                    here.position, here.weight, here.content, Strength.HARD, HARD_PAUSE_MS["."]
                )
                return
        pause_ms = HARD_PAUSE_MS["…" if len(marks) > 1 and last == "." else last]
        self._mark(Strength.HARD, pause_ms)

    # Counting

    def _advance(self, ch: str, *, weight: int | None = None) -> None:
        self._note_gap(ch)
        here = self.here
        self.here = Place(
            here.position + 1,
            here.weight + (self._weigh(ch) if weight is None else weight),
            here.content + (1 if ch.isalnum() else 0),
        )
        self._regionals = self._regionals + 1 if is_regional(ch) else 0
        self._is_japanese = self._is_japanese or is_kana(ch)
        self._before_previous = self._previous
        self._previous = ch

    def _note_gap(self, ch: str) -> None:
        """Record the gap before `ch` if it may be cut at."""
        before = self._previous
        if is_extender(ch) or before == ZWJ or (is_regional(ch) and self._regionals % 2):
            return
        self.last_break = self.here
        if self._tag_chars > 1 or ch in CLOSERS or ch in SOFT_PAUSE_MS or ch in HARD_PAUSE_MS:
            return
        if before.isspace() or self._parts_words(before, ch):
            self.last_safe = self.here

    def _parts_words(self, before: str, ch: str) -> bool:
        """Return True if a word likely ends between two characters without a blank."""
        if not is_wide(before) or is_hangul(before) or ch.isdecimal():
            return False
        if before in _PREFIXES:
            return False
        if is_hiragana(before):
            return not is_kana(ch) or not (is_hiragana(ch) or ch in _CONTINUES_KANA)
        return not (is_kana(before) or is_kana(ch) or self._is_japanese)

    def _weigh(self, ch: str) -> int:
        if is_wide(ch):
            self._word_letters = 0
            return 2
        if ch.isalpha():
            self._word_letters += 1
            if self._word_letters == 1:
                return 2
            return 1 if self._word_letters % WORD_LETTERS_PER_WEIGHT == 0 else 0
        if ch in "'’" and self._word_letters:
            return 0
        self._word_letters = 0
        return 0 if ch.isspace() or is_extender(ch) else 1
