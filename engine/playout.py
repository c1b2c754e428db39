"""The listener's clock: when an utterance's audio runs out, so who is in a hurry. Pure."""

from __future__ import annotations

# A listener who hears something and would run dry within _PATIENCE_S goes before one who has heard
# nothing and is late already: a later start is a wait, a gap is a defect. Of eight listeners of
# nano who begin together on two cores the last one starts 0.1 s later, and nobody hears a gap
# (`tests/engine/test_begin_together.py`). Who is later than _MOST_LATE_S goes first all the same:
# beyond what an engine can do somebody waits, and four of a full-size model on two cores all begin
# within 0.8 s, not 1.4.
_PATIENCE_S = 0.15
_MOST_LATE_S = 0.35


class PlayoutClock:
    """Follows one utterance's audio as if it were played from the moment it left the engine.

    All times are seconds of one monotonic clock, given by the caller.
    """

    def __init__(self, arrived_s: float, *, first_audio_s: float) -> None:
        """Start the clock of an utterance that arrived at `arrived_s`.

        Args:
            first_audio_s: How long after its arrival it wants its first chunk.
        """
        self._due_s = arrived_s + first_audio_s
        self._started_s: float | None = None  # when its first sample would have been played
        self.produced_s = 0.0  # audio made so far
        self.granted_s = float("inf")  # audio it may make in all
        self.num_underruns = 0

    @property
    def has_credit(self) -> bool:
        """True while the listener wants more audio."""
        return self.produced_s < self.granted_s

    @property
    def end_s(self) -> float:
        """When the listener runs out of audio; before the first chunk, when that is due."""
        if self._started_s is None:
            return self._due_s
        return self._started_s + self.produced_s

    def deadline_s(self, now_s: float) -> float:
        """Return by when the next chunk must be there.

        That is when the listener runs out of audio. Before the first chunk it is when that is due,
        and once it is late, a moment that keeps ahead of `now_s` for a while.
        """
        if self._started_s is not None:
            return self.end_s
        return max(self._due_s, min(now_s + _PATIENCE_S, self._due_s + _MOST_LATE_S))

    def lead_s(self, now_s: float) -> float:
        """Return seconds of audio made and not yet played; 0 before the first chunk."""
        if self._started_s is None:
            return 0.0
        return max(0.0, self.end_s - now_s)

    def produce(self, audio_s: float, now_s: float) -> None:
        """Note that `audio_s` more seconds leave at `now_s`."""
        if self._started_s is None:
            self._started_s = now_s
        elif self.end_s < now_s:
            self.num_underruns += 1
            self._started_s = now_s - self.produced_s  # playback resumes now
        self.produced_s += audio_s
