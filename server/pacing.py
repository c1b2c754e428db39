"""How far ahead of the listener one context's audio may be.

TCP does not push back at these rates: a client that never reads takes 15 minutes of speech into
buffers. So what is sent is bounded by playout time. Without acknowledgements the listener is
assumed to play in real time from the first packet, pausing whenever everything has been played.
With them, playback is where the last one said, running on in real time for half a second; a client
that then says no more gets no more.

Pure: times are seconds of the caller's clock, audio is seconds from the start of the context.
"""

from __future__ import annotations

import math

UNLIMITED_LEAD_S = 60.0  # what a lead of 0, "as fast as possible", still means
ACK_VALID_S = 0.5  # clients acknowledge every 100 to 500 ms
_EPSILON_S = 1e-9


class Pacer:
    """One context's lead window.

    Args:
        lead_s: Most that may be sent ahead of playback; 0 for as much as is sensible.

    Attributes:
        max_lead_s: That, resolved.
        num_underruns: How often audio came after the listener must have run out.
    """

    def __init__(self, lead_s: float) -> None:
        self.max_lead_s = lead_s if lead_s > 0 else UNLIMITED_LEAD_S
        self.num_underruns = 0
        self._sent_s = 0.0  # audio
        self._step_s = 0.0  # audio in the last message
        self._played_s = 0.0  # audio, at the moment _anchor_s
        self._anchor_s = 0.0
        self._acked_s = 0.0  # audio
        self._heard_s = math.inf  # moment of the last acknowledgement; inf: none expected

    def sent(self, duration_s: float, now_s: float) -> None:
        """Note that `duration_s` of audio was handed over."""
        if self.played_s(now_s) >= self._sent_s - _EPSILON_S:
            if self._sent_s:
                self.num_underruns += 1
            self._played_s, self._anchor_s = self._sent_s, now_s
        self._sent_s += duration_s
        self._step_s = duration_s

    def acked(self, played_s: float, now_s: float) -> None:
        """Take the listener's word for its position; it never goes back or past what was sent."""
        self._acked_s = min(max(played_s, self._acked_s), self._sent_s)
        self._played_s, self._anchor_s = self._acked_s, now_s
        self._heard_s = now_s

    def played_s(self, now_s: float) -> float:
        """Return where playback is, as far as is known."""
        # Comparisons, not min and max: every packet asks several times.
        until_s = self._heard_s + ACK_VALID_S
        if now_s < until_s:
            until_s = now_s
        played_s = self._played_s
        if until_s > self._anchor_s:
            played_s += until_s - self._anchor_s
        return played_s if played_s < self._sent_s else self._sent_s

    def lead_s(self, now_s: float) -> float:
        """Return how much audio the listener has not played yet."""
        return self._sent_s - self.played_s(now_s)

    def wait_s(self, now_s: float) -> float:
        """Return when the next message may be sent: 0 is now, inf is after an acknowledgement.

        The next message is taken to be as long as the last one; one may always be sent when
        everything has been played.
        """
        lead_s = self.lead_s(now_s)
        wait_s = min(lead_s, lead_s + self._step_s - self.max_lead_s)
        if wait_s <= _EPSILON_S:
            return 0.0
        return wait_s if now_s + wait_s <= self._heard_s + ACK_VALID_S else math.inf

    def stalled_s(self, now_s: float) -> float:
        """Return how long the window has been shut by a client that stopped acknowledging."""
        if math.isfinite(self.wait_s(now_s)):
            return 0.0
        return max(0.0, now_s - self._heard_s - ACK_VALID_S)
