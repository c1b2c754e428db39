"""Which part of a recording becomes the reference.

A recording of 3 to 10 s is used whole, but for long silence at its ends. Of a longer one the best
stretch between pauses is taken. When its words matter (a prompt needs audio and text of the same
words), clause ends are laid on pauses by their share of the phonemes and of the speech: where the
two agree the text can be cut with the audio, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.audio.io import Recording
from engine.audio.reference_checks import MAX_S, MIN_S
from engine.audio.vad import SpeechMap, find_speech
from engine.errors import VoiceError

_MARGIN_S = 0.25  # of silence left around speech
_LONG_EDGE_S = 0.5  # silence at an end that is shortened to the margin
_TOLERANCE_S = 0.4  # between a clause end as predicted and the pause it is laid on
_MISMATCH_COST = 2.0  # seconds of speech given up per second of disagreement
_GOOD_S = 8.0  # more adds nothing


@dataclass(frozen=True, slots=True)
class Clause:
    """A piece of the transcript that ends in a pause when spoken."""

    start: int  # characters
    end: int
    num_phonemes: int  # without punctuation


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a recording, in samples, and of its transcript, in clauses."""

    start: int
    end: int
    first_clause: int = 0
    end_clause: int = 0


@dataclass(frozen=True, slots=True)
class _Anchor:
    """A place where the recording may be cut: `before` ends a window there, `after` begins one."""

    before: int
    after: int
    clause: int
    mismatch_s: float


def choose_window(recording: Recording, clauses: Sequence[Clause] = ()) -> Window:
    """Return the part to use; with `clauses` also which of them are spoken in it.

    Raises:
        VoiceError: Longer than 10 s and no usable stretch; says what to do.
    """
    rate = recording.sample_rate_hz
    speech = find_speech(recording.samples, rate)
    whole = _trimmed(recording, speech)
    if whole.end - whole.start <= MAX_S * rate or not speech.segments:
        return Window(whole.start, whole.end, 0, len(clauses))
    total = len(recording.samples)
    anchors = _aligned(speech, clauses, rate, total) if clauses else _pauses(speech, rate, total)
    best = _best(anchors, speech, rate)
    if best is None:
        raise VoiceError(_no_window(recording, bool(clauses)), code="bad_reference")
    return best


def _trimmed(recording: Recording, speech: SpeechMap) -> Window:
    """Shorten long silence at both ends, but never below the shortest reference."""
    rate, total = recording.sample_rate_hz, len(recording.samples)
    if not speech.segments:
        return Window(0, total)
    first, last = speech.segments[0].start, speech.segments[-1].end
    margin = round(_MARGIN_S * rate)
    start = first - margin if first > _LONG_EDGE_S * rate else 0
    end = last + margin if total - last > _LONG_EDGE_S * rate else total
    missing = max(0, min(total, round(MIN_S * rate)) - (end - start))
    end = min(total, end + missing)
    return Window(max(0, min(start, end - round(MIN_S * rate))), end)


def _pauses(speech: SpeechMap, rate: int, total: int) -> list[_Anchor]:
    """Return the pauses, and both ends, as places to cut."""
    margin = round(_MARGIN_S * rate)
    segments = speech.segments
    anchors = [_Anchor(0, max(0, segments[0].start - margin), 0, 0.0)]
    for left, right in zip(segments, segments[1:], strict=False):
        half = min(margin, (right.start - left.end) // 2)
        anchors.append(_Anchor(left.end + half, right.start - half, 0, 0.0))
    anchors.append(_Anchor(min(total, segments[-1].end + margin), total, 0, 0.0))
    return anchors


def _aligned(speech: SpeechMap, clauses: Sequence[Clause], rate: int, total: int) -> list[_Anchor]:
    """Return the pauses that lie where a clause ends, with that clause."""
    pauses = _pauses(speech, rate, total)
    spoken_s = [0.0]
    for segment in speech.segments:
        spoken_s.append(spoken_s[-1] + len(segment) / rate)
    phonemes = [0]
    for piece in clauses:
        phonemes.append(phonemes[-1] + piece.num_phonemes)
    if not phonemes[-1]:
        return []
    anchors = []
    for pause, at_s in zip(pauses, spoken_s, strict=True):
        predicted = [count / phonemes[-1] * spoken_s[-1] for count in phonemes]
        clause = min(range(len(predicted)), key=lambda i: abs(predicted[i] - at_s))
        mismatch = abs(predicted[clause] - at_s)
        if mismatch <= _TOLERANCE_S:
            anchors.append(_Anchor(pause.before, pause.after, clause, mismatch))
    return anchors


def _best(anchors: Sequence[_Anchor], speech: SpeechMap, rate: int) -> Window | None:
    """Return the window of 3 to 10 s with the most speech and the least doubt."""
    best: tuple[float, Window] | None = None
    for i, begin in enumerate(anchors):
        for finish in anchors[i + 1 :]:
            length = finish.before - begin.after
            has_text = finish.clause > begin.clause or finish.clause == begin.clause == 0
            if not MIN_S * rate <= length <= MAX_S * rate or not has_text:
                continue
            spoken = _spoken(speech, begin.after, finish.before)
            silence_s = (length - spoken) / rate
            doubt = begin.mismatch_s + finish.mismatch_s
            score = min(spoken / rate, _GOOD_S) - 0.5 * silence_s - _MISMATCH_COST * doubt
            if best is None or score > best[0]:
                window = Window(begin.after, finish.before, begin.clause, finish.clause)
                best = (score, window)
    return best[1] if best else None


def _spoken(speech: SpeechMap, start: int, end: int) -> int:
    return sum(max(0, min(end, s.end) - max(start, s.start)) for s in speech.segments)


def _no_window(recording: Recording, has_text: bool) -> str:
    if has_text:
        return (
            f"{recording.name} is {recording.duration_s:.0f} s long, and its pauses do not tell "
            f"where which of the words were said; cut out {MIN_S:g} to {MAX_S:g} s and give the "
            "words of that part only"
        )
    return (
        f"{recording.name} is {recording.duration_s:.0f} s long and has no stretch of {MIN_S:g} to "
        f"{MAX_S:g} s between pauses; cut one out"
    )
