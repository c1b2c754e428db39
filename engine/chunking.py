"""How many tokens go into the next chunk: few at first, more as the playout lead grows.

A small chunk leaves sooner but repeats the decoder's left context for less audio (11 of 21 frames
at 5 tokens, 11 of 111 at 50), so chunks are as small as they must be and no smaller.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.types import TOKEN_HZ


@dataclass(frozen=True, slots=True)
class ChunkSchedule:
    """Chunk sizes in tokens (40 ms each)."""

    first_tokens: int = 5
    min_tokens: int = 5
    max_tokens: int = 50
    lead_share: float = 0.5  # of the lead that the next chunk may take to be made and played

    def next_tokens(self, num_spoken: int, lead_s: float) -> int:
        """Return the size of the next chunk.

        Args:
            num_spoken: Tokens of this sentence already turned into audio.
            lead_s: Seconds of this utterance's audio not played yet.
        """
        if num_spoken == 0 and lead_s <= 0:
            return self.first_tokens
        by_lead = int(lead_s * TOKEN_HZ * self.lead_share)
        return max(self.min_tokens, min(self.max_tokens, by_lead))
