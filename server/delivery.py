"""One utterance's audio from samples to packets that leave in time, numbered and labelled."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from engine.types import FloatArray
from server.encoder import AudioEncoder, EncodedPacket
from server.frames import CLOCK_HZ, AudioPacket, Flags
from server.pacing import Pacer
from server.sink import Sink

# Far ahead of playback, packets share a message: three times fewer system calls at 20 ms.
_BATCH_LEAD_S = 0.5
_BATCH_MS = 60
# uvloop's timers count whole milliseconds and may be that early: waiting for the rest would wake
# the loop three times for every packet.
_EARLY_S = 0.002
_NEVER_S = 3600.0  # longer waits are for an acknowledgement


class Delivery:
    """Encodes, waits for the pacer, labels, hands over.

    Attributes:
        num_packets: Packets handed over.
        first_packet_s: When the first one was, on the clock given; None before.
    """

    def __init__(
        self,
        sink: Sink,
        encoder: AudioEncoder,
        pacer: Pacer,
        *,
        clock: Callable[[], float],
        executor: Executor | None,
        may_batch: bool,
        on_sent: Callable[[], None],
    ) -> None:
        """Prepare.

        Args:
            executor: Where to encode; None: on the event loop.
            on_sent: Called after each message of packets.
        """
        self._sink = sink
        self._encoder = encoder
        self._pacer = pacer
        self._clock = clock
        self._executor = executor
        may_batch = may_batch and pacer.max_lead_s > _BATCH_LEAD_S
        self._per_batch = max(1, _BATCH_MS // encoder.frame_ms) if may_batch else 1
        self._on_sent = on_sent
        self._waiting: asyncio.Future[bool] | None = None  # for the pacer; True: ask it again
        self._starts: deque[tuple[int, int]] = deque()  # (pts, sentence) not reached yet
        self._seg = -1  # of the last packet
        self.num_packets = 0
        self.first_packet_s: float | None = None

    @property
    def position48(self) -> int:
        """Where the next samples will be, 48 kHz."""
        return self._encoder.position48

    @property
    def total_samples48(self) -> int:
        """Exact length of the audio so far."""
        return self._encoder.total_samples48

    def begin(self, seg: int) -> int:
        """Start a sentence with the next samples; return its pts."""
        pts = self._encoder.position48
        self._starts.append((pts, seg))
        return pts

    async def feed(self, samples: FloatArray) -> None:
        """Send samples, as fast as the listener's lead allows."""
        if self._executor is None:
            packets = self._encoder.encode(samples)
        else:
            loop = asyncio.get_running_loop()
            packets = await loop.run_in_executor(self._executor, self._encoder.encode, samples)
        await self._send_all(packets)

    async def finish(self) -> None:
        """Send what is left; its last packet is marked."""
        rest = self._encoder.finish()
        if not rest:  # a codec without delay whose last frame was full
            rest = [EncodedPacket(b"", self._encoder.position48, 0)]
        await self._send_all(rest, is_last=True)

    def nudge(self) -> None:
        """Ask the pacer again: playback was acknowledged."""
        if self._waiting is not None:
            _wake(self._waiting, True)

    async def _send_all(self, packets: Sequence[EncodedPacket], *, is_last: bool = False) -> None:
        rest = list(packets)
        while rest:
            count = self._per_batch if self.num_packets else 1
            if count > 1 and self._pacer.lead_s(self._clock()) < _BATCH_LEAD_S:
                count = 1
            batch, rest = rest[:count], rest[count:]
            await self._wait_for_pacer()
            self._hand_over(batch, is_last=is_last and not rest)

    async def _wait_for_pacer(self) -> None:
        # A bare future and timer: this runs for every packet, and asyncio.timeout costs as much as
        # everything else that is done for one.
        loop = asyncio.get_running_loop()
        is_nudged = True
        while is_nudged and (wait_s := self._pacer.wait_s(self._clock())) > _EARLY_S:
            waiting = self._waiting = loop.create_future()
            timer = loop.call_later(wait_s, _wake, waiting, False) if wait_s < _NEVER_S else None
            try:
                is_nudged = await waiting
            finally:
                self._waiting = None
                if timer is not None:
                    timer.cancel()

    def _hand_over(self, batch: list[EncodedPacket], *, is_last: bool) -> None:
        now = self._clock()
        labelled = [self._label(packet) for packet in batch]
        if is_last:
            labelled[-1] = _flagged(labelled[-1], Flags.LAST)
        if self.first_packet_s is None:
            self.first_packet_s = now
        self._sink.audio(labelled)
        self._pacer.sent(sum(packet.duration48 for packet in batch) / CLOCK_HZ, now)
        self._on_sent()

    def _label(self, packet: EncodedPacket) -> AudioPacket:
        flags = Flags.SILENCE if packet.is_silence else Flags.NONE
        if not self.num_packets:
            flags |= Flags.FIRST
        while self._starts and self._starts[0][0] < packet.pts48 + max(1, packet.duration48):
            self._seg = self._starts.popleft()[1]
            flags |= Flags.SEG_START
        seq = self.num_packets
        self.num_packets += 1
        return AudioPacket(
            packet.payload, seq, packet.pts48, packet.duration48, max(0, self._seg), flags
        )


def _wake(waiting: asyncio.Future[bool], is_nudged: bool) -> None:
    if not waiting.done():
        waiting.set_result(is_nudged)


def _flagged(packet: AudioPacket, flag: Flags) -> AudioPacket:
    return AudioPacket(
        packet.payload, packet.seq, packet.pts, packet.duration, packet.seg, packet.flags | flag
    )
