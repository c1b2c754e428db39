"""What of an utterance's text sounds when; from it: timings, and what was heard at a cancel.

Times are 48 kHz samples since the utterance started. A token's phoneme comes from the engine's
alignment where it gives one; otherwise phonemes share the sentence's time evenly, by the usual
pace until its real length is known.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.types import AudioChunk, Phonemes, Sentence
from server.frames import CLOCK_HZ

# Typical speech, as the engine's own guess; used only for a sentence cut before its last chunk.
_SAMPLES_PER_PHONEME = CLOCK_HZ // 10


@dataclass(frozen=True, slots=True)
class Span:
    """A word or character and when it sounds: offsets into the utterance's text, then samples."""

    start: int
    end: int
    begins: int
    ends: int


class SentenceTimes:
    """The clock of one sentence."""

    def __init__(self, sentence: Sentence, phonemes: Phonemes, pts: int) -> None:
        """Start at `pts`, 48 kHz samples."""
        self.sentence = sentence
        self.phonemes = phonemes
        self.pts = pts
        self.pts_end = pts  # of what was made so far, the pause included
        self.is_complete = False
        self.num_tokens = 0
        self._speech_end = pts  # without the pause
        self._phoneme_ends: dict[int, int] = {}  # phoneme -> end of its last token

    def add(self, chunk: AudioChunk) -> None:
        """Take the next chunk."""
        samples = len(chunk.samples) * CLOCK_HZ // chunk.sample_rate_hz
        pause = self.sentence.pause_ms * CLOCK_HZ // 1000 if chunk.is_final else 0
        trimmed = chunk.num_trimmed * CLOCK_HZ // chunk.sample_rate_hz
        begins, speech = self.pts_end, max(0, samples - pause)
        self.pts_end += samples
        self._speech_end = begins + speech
        self.is_complete = chunk.is_final
        self.num_tokens += chunk.num_tokens
        if chunk.token_phonemes is not None:
            for i, phoneme in enumerate(chunk.token_phonemes):
                end = (trimmed + speech) * (i + 1) // len(chunk.token_phonemes)
                self._phoneme_ends[int(phoneme)] = begins + max(0, end - trimmed)

    @property
    def is_aligned(self) -> bool:
        """True if the engine says which phoneme a token speaks."""
        return bool(self._phoneme_ends)

    def words(self) -> list[Span]:
        """Return the words in order; those not made yet end where they may be expected to.

        Words made of the same characters ("15" is two in Chinese) are one span.
        """
        spans: list[Span] = []
        first, begins = 0, self.pts
        for word in self.phonemes.words:
            ends = max(begins, self._end_of(first + word.num_phonemes))
            start, end = self.sentence.start + word.start, self.sentence.start + word.end
            if spans and end > start and start < spans[-1].end:
                last = spans.pop()
                spans.append(Span(last.start, max(last.end, end), last.begins, ends))
            elif end > start:
                spans.append(Span(start, end, begins, ends))
            first, begins = first + word.num_phonemes, ends
        return spans

    def phoneme_spans(self) -> list[tuple[str, Span]]:
        """Return the phonemes in order, each with the characters of its word."""
        spans: list[tuple[str, Span]] = []
        begins = self.pts
        for word in self.phonemes.words:
            start, end = self.sentence.start + word.start, self.sentence.start + word.end
            for _ in range(word.num_phonemes):
                ends = max(begins, self._end_of(len(spans) + 1))
                symbol = self.phonemes.symbols[len(spans)]
                spans.append((symbol, Span(start, end, begins, ends)))
                begins = ends
        return spans

    def _end_of(self, num_phonemes: int) -> int:
        """Return when the first `num_phonemes` phonemes have sounded."""
        total = max(1, len(self.phonemes))
        if self._phoneme_ends:
            # A phoneme may be too short to own a token: the last one before it that does counts.
            known = [end for i, end in self._phoneme_ends.items() if i < num_phonemes]
            last = max(self._phoneme_ends)
            if num_phonemes <= last + 1 or self.is_complete:
                is_last = self.is_complete and num_phonemes >= total
                return self._speech_end if is_last else max(known, default=self.pts)
            return self._speech_end + (num_phonemes - last - 1) * _SAMPLES_PER_PHONEME
        made = self._speech_end - self.pts
        length = made if self.is_complete else max(made, total * _SAMPLES_PER_PHONEME)
        return self.pts + length * num_phonemes // total


class Transcript:
    """The text of one utterance as received, and the sentences made of it."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._sentences: list[SentenceTimes] = []

    @property
    def text(self) -> str:
        """Everything received."""
        return "".join(self._parts)

    def append(self, text: str) -> None:
        """Note text that was received."""
        self._parts.append(text)

    def begin(self, sentence: Sentence, phonemes: Phonemes, pts: int) -> SentenceTimes:
        """Note that a sentence begins to sound at `pts`."""
        times = SentenceTimes(sentence, phonemes, pts)
        self._sentences.append(times)
        return times

    def spoken_chars(self, played: int) -> int:
        """Return how many characters had sounded after `played` samples."""
        spoken = 0
        for times in self._sentences:
            if times.is_complete and times.pts_end <= played:
                spoken = times.sentence.end
                continue
            for span in times.words():
                if span.ends <= played:
                    spoken = max(spoken, span.end)
            break
        return spoken

    def split_at(self, played: int) -> tuple[str, str]:
        """Return (spoken, remaining): together the text received."""
        text, chars = self.text, self.spoken_chars(played)
        return text[:chars], text[chars:]
