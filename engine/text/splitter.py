"""Cut a text that is still being written into sentences, the first one as early as possible.

Weights: a han, kana or hangul syllable is 2, a word of letters about 2, anything else 1, so that
a limit means the same in every language (a weight is roughly a tenth of a second of speech).

    sentence 0      the first clause end with weight >= 8, or any sentence end; without punctuation
                    weight 12 once nothing comes for 120 ms or 250 ms have passed
    sentence 1      the first clause end with weight >= 24, or a sentence end
    sentence 2...   whole sentences, at most 120
    lead > 3 s      enough is buffered at the listener: no cuts at clause ends, sentences merged

Nothing is lost: the texts of the sentences, joined, are the text that was fed. Leading spaces and
stray marks open the next sentence; a sentence without letters and digits is only made when the
utterance ends, so the last one may hold nothing to speak, or be empty.

Times are whatever clock the caller uses, in seconds; nothing here reads one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard, TypeVar

from engine.errors import InvalidParameter
from engine.text.boundaries import Boundary, BoundaryScanner, Place, Strength
from engine.types import Sentence

_MIN_CUT_WEIGHT = 5  # a timer does not cut off less than this
_REPLACEMENT = "\ufffd"
_P = TypeVar("_P", bound=Place)


@dataclass(frozen=True, slots=True)
class SplitterOptions:
    """When to cut; the defaults are explained in the module docstring.

    Attributes:
        schedule: Entry i is the weight from which sentence i may end at a clause; sentences past
            the end are whole.
        max_weight: No sentence weighs more.
        min_sentence_weight: A shorter sentence joins the next one (but never the first).
        first_chunk_idle_weight: What the first-chunk timers need before they cut.
        sentence_idle_ms: After this silence of the writer, a finished short sentence is not kept
            waiting for more, and a full stop after a word is believed.
        idle_flush_ms: After this silence everything is spoken.
        merge_lead_s: Lead above which sentences are merged, up to merged_weight.
        starving_lead_s: Lead below which clause ends are cut at again, from starving_weight.
        auto_mode: The caller sends phrases: every feed is a sentence.
    """

    schedule: tuple[int, ...] = (8, 24)
    max_weight: int = 120
    min_sentence_weight: int = 8
    first_chunk_idle_weight: int = 12
    first_chunk_idle_ms: int = 120
    first_chunk_max_wait_ms: int = 250
    sentence_idle_ms: int = 400
    idle_flush_ms: int = 1500
    merge_lead_s: float = 3.0
    merged_weight: int = 60
    starving_lead_s: float = 0.5
    starving_weight: int = 24
    auto_mode: bool = False

    def __post_init__(self) -> None:
        if not 20 <= self.max_weight <= 400:
            raise InvalidParameter("chunking.max_weight", self.max_weight, "20 to 400")
        if len(self.schedule) > 32 or not all(1 <= w <= 500 for w in self.schedule):
            raise InvalidParameter("chunking.schedule", self.schedule, "at most 32 weights 1-500")
        for name in (
            "first_chunk_idle_ms",
            "first_chunk_max_wait_ms",
            "sentence_idle_ms",
            "idle_flush_ms",
        ):
            if not 0 <= getattr(self, name) <= 60_000:
                raise InvalidParameter(f"chunking.{name}", getattr(self, name), "0 to 60000 ms")


class SentenceSplitter:
    """Deltas in, sentences out; one per utterance. See the module docstring."""

    def __init__(self, options: SplitterOptions | None = None) -> None:
        self._options = options or SplitterOptions()
        self._scanner = BoundaryScanner()
        self._pending: list[str] = []  # characters since the last cut
        self._cut = Place()  # where the last sentence ended
        self._held: Boundary | None = None  # the last sentence end that was not cut at
        self._index = 0
        self._lead_s: float | None = None
        self._first_s: float | None = None  # when the first letter or digit came
        self._last_s = 0.0  # when the last delta came
        self._high_surrogate = ""
        self._is_finished = False

    @property
    def pending_chars(self) -> int:
        """Characters fed and not yet part of a sentence."""
        return len(self._pending) + len(self._high_surrogate)

    def set_lead(self, seconds: float) -> None:
        """Say how much audio the listener has ahead; takes effect with the next feed or poll."""
        self._lead_s = seconds

    def feed(self, delta: str, now_s: float) -> list[Sentence]:
        """Append text and return the sentences that are complete by it."""
        assert not self._is_finished, "feed after finish"
        if not delta:
            return []
        out: list[Sentence] = []
        for ch in self._joined(delta):
            self._push(ch, out)
        self._last_s = now_s
        if self._first_s is None and self._scanner.here.content:
            self._first_s = now_s
        if self._options.auto_mode:
            out += self.flush()
        return out + self.poll(now_s)

    def poll(self, now_s: float) -> list[Sentence]:
        """Return the sentences that are due by a timer or by a lead that ran low."""
        out: list[Sentence] = []
        if self._is_finished:
            return out
        options = self._options
        if now_s >= self._idle_at(options.idle_flush_ms):
            return self.flush()
        is_quiet = now_s >= self._idle_at(options.sentence_idle_ms)
        if now_s >= self._idle_at(options.first_chunk_idle_ms):
            self._consider(self._scanner.settle(even_words=is_quiet), out)
        if self._held is not None and (
            self._may_cut(self._held) or (is_quiet and not self._is_merging())
        ):
            self._cut_at(self._held, out)
        deadline = self._first_chunk_deadline()
        if deadline is not None and now_s >= deadline:
            place = self._first_chunk_place()
            assert place is not None
            self._cut_at(place, out)
        return out

    def next_deadline(self) -> float | None:
        """Return when `poll` should be called next if nothing is fed, or None."""
        if self._is_finished or self._scanner.here.content == self._cut.content:
            return None
        options = self._options
        deadlines = [self._idle_at(options.idle_flush_ms)]
        if self._scanner.tentative is not None:
            deadlines.append(self._idle_at(options.first_chunk_idle_ms))
        if self._scanner.may_settle():
            deadlines.append(self._idle_at(options.sentence_idle_ms))
        if self._held is not None and not self._is_merging():
            deadlines.append(self._idle_at(options.sentence_idle_ms))
        first = self._first_chunk_deadline()
        if first is not None:
            deadlines.append(first)
        return min(deadlines)

    def flush(self) -> list[Sentence]:
        """Cut right here, whatever is open; text without letters and digits stays."""
        self._push_lone_surrogate([])
        if self._scanner.here.content == self._cut.content:
            return []
        return [self._cut_here()]

    def finish(self) -> list[Sentence]:
        """End the utterance; the last sentence returned is final, perhaps with nothing to say."""
        assert not self._is_finished, "finish twice"
        out: list[Sentence] = []
        self._push_lone_surrogate(out)
        out.append(self._cut_here(is_final=True))
        self._is_finished = True
        return out

    # Reading

    def _joined(self, delta: str) -> str:
        """Return `delta` with a surrogate pair that two deltas share made one character."""
        delta = self._high_surrogate + delta
        self._high_surrogate = ""
        if "\ud800" <= delta[-1] <= "\udbff":
            delta, self._high_surrogate = delta[:-1], delta[-1]
        if delta.isascii():
            return delta
        return delta.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _push_lone_surrogate(self, out: list[Sentence]) -> None:
        if self._high_surrogate:
            self._high_surrogate = ""
            self._push(_REPLACEMENT, out)

    def _push(self, ch: str, out: list[Sentence]) -> None:
        scanner = self._scanner
        self._pending.append(ch)
        self._consider(scanner.push(ch), out)
        if self._index == 0 and scanner.is_immediate:
            self._consider(scanner.tentative, out)
        if scanner.here.weight - self._cut.weight > self._options.max_weight:
            self._cut_at(self._forced_place(), out)

    def _consider(self, boundary: Boundary | None, out: list[Sentence]) -> None:
        """Cut at `boundary` if the schedule wants it, else remember a sentence end for later."""
        if self._options.auto_mode or not self._is_pending(boundary):
            return
        if self._may_cut(boundary):
            self._cut_at(boundary, out)
        elif boundary.strength is Strength.HARD:
            self._held = boundary

    # Deciding

    def _idle_at(self, wait_ms: int) -> float:
        """Return when nothing will have come for `wait_ms`."""
        return self._last_s + wait_ms / 1000

    def _is_merging(self) -> bool:
        return (
            self._index > 0
            and self._lead_s is not None
            and self._lead_s > self._options.merge_lead_s
        )

    def _may_cut(self, boundary: Boundary) -> bool:
        options = self._options
        weight = boundary.weight - self._cut.weight
        if boundary.strength is Strength.HARD:
            if self._is_merging():
                return weight >= options.merged_weight
            return self._index == 0 or weight >= options.min_sentence_weight
        if self._is_merging():
            return False
        if self._index < len(options.schedule) and weight >= options.schedule[self._index]:
            return True
        is_starving = self._lead_s is not None and self._lead_s < options.starving_lead_s
        return is_starving and self._index >= 2 and weight >= options.starving_weight

    def _first_chunk_deadline(self) -> float | None:
        """Return when the first sentence is cut without punctuation."""
        if self._index > 0 or self._first_s is None or self._first_chunk_place() is None:
            return None
        options = self._options
        return min(
            self._idle_at(options.first_chunk_idle_ms),
            self._first_s + options.first_chunk_max_wait_ms / 1000,
        )

    def _first_chunk_place(self) -> Place | None:
        scanner = self._scanner
        if scanner.here.weight < self._options.first_chunk_idle_weight:
            return None
        safe = scanner.here if scanner.end_is_safe else scanner.last_safe
        for place in (scanner.last_mark, safe):
            if self._is_pending(place) and place.weight >= _MIN_CUT_WEIGHT:
                return place
        return None

    def _forced_place(self) -> Place:
        """Return where to cut a sentence that became too heavy: the best of what there is."""
        scanner = self._scanner
        held = self._held if self._is_merging() else None
        for place in (held, scanner.last_mark, scanner.last_safe, scanner.last_break):
            if self._is_pending(place):
                return place
        return scanner.here

    def _is_pending(self, place: _P | None) -> TypeGuard[_P]:
        """Return True if there is something to speak between the last cut and `place`."""
        return place is not None and place.content > self._cut.content

    # Cutting

    def _cut_here(self, *, is_final: bool = False) -> Sentence:
        pause_ms = self._scanner.finish_here()
        out: list[Sentence] = []
        self._cut_at(self._scanner.here, out, pause_ms=pause_ms, is_final=is_final)
        return out[0]

    def _cut_at(
        self,
        place: Place,
        out: list[Sentence],
        *,
        pause_ms: int | None = None,
        is_final: bool = False,
    ) -> None:
        """Make the pending text up to `place` a sentence."""
        if pause_ms is None:
            pause_ms = place.pause_ms if isinstance(place, Boundary) else 0
        start, end = self._cut.position, place.position
        text = "".join(self._pending[: end - start])
        del self._pending[: end - start]
        out.append(Sentence(self._index, text, start, end, 0 if is_final else pause_ms, is_final))
        self._index += 1
        self._cut = place
        if self._held is not None and self._held.position <= end:
            self._held = None
