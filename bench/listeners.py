"""Many listeners of the native protocol at once, written to cost as little as they can.

Each keeps one connection and speaks context after context; some are cancelled on the way. What
arrived when is kept and judged afterwards: judging while it arrives would disturb it.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType

from clients.events import SUBPROTOCOL, parse_audio

WORDS = (
    "the quick brown fox jumps over a lazy dog while seven silver ships sail home at dawn".split()
)
_RESTARTING = 1012
_PACKET_LIMIT = 100  # a cancel comes within so many packets
_FRAMES_PER_S = 50


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it arrived; times of the monotonic clock."""

    at_s: float
    seq: int
    num_samples: int  # of the codec's rate


@dataclass(slots=True)
class Heard:
    """One context as its listener heard it.

    Attributes:
        num_messages: Binary messages: several packets may share one.
        declared: Packets that the server says it sent; None until it says so.
        after_end: Messages of the context that came when it was over.
    """

    asked_s: float
    packets: list[Packet] = field(default_factory=list)
    num_messages: int = 0
    declared: int | None = None
    cancelled_s: float | None = None
    confirmed_s: float | None = None
    after_end: int = 0
    error: str = ""

    @property
    def is_whole(self) -> bool:
        """True if every packet came, once and in order, and the server says there are no more."""
        seqs = [packet.seq for packet in self.packets]
        return seqs == list(range(len(seqs))) and self.declared == len(seqs)


@dataclass(frozen=True, slots=True)
class Plan:
    """What each listener does.

    Attributes:
        settings: Of every context, as `context.open` names them.
        rate_hz: Of the codec.
        bytes_per_sample: Of the codec; 0: packets are whole frames of 20 ms.
        cancels: Share of the contexts that are cancelled.
        spread_s: Listeners begin within so long.
    """

    url: str
    settings: Mapping[str, object]
    rate_hz: int
    bytes_per_sample: int
    cancels: float
    spread_s: float = 3.0


class Listener:
    """One connection; see the module docstring."""

    def __init__(self, plan: Plan, number: int) -> None:
        self._plan = plan
        self._dice = random.Random(number)
        self._number = number
        self.current: Heard | None = None  # not over yet
        self._alias = -1
        self.heard: list[Heard] = []
        self.is_going = False  # the server said that it drains
        self.close_code: int | None = None
        self.num_messages = 0  # binary ones, of all contexts

    async def run(self, session: ClientSession, until: Callable[[], bool]) -> None:
        """Speak until `until` is true or the server goes away."""
        await asyncio.sleep(self._dice.uniform(0, self._plan.spread_s))
        async with session.ws_connect(
            self._plan.url, protocols=(SUBPROTOCOL,), max_msg_size=1 << 20
        ) as socket:
            while not until() and not self.is_going and not socket.closed:
                heard = await self._speak(socket)
                if heard.declared is not None:  # listen to the end, as one who talks would
                    with suppress(TimeoutError):
                        async with asyncio.timeout(self._unheard_s(heard)):
                            while await self._receive(socket):
                                pass
            while not socket.closed:  # a server that drains closes
                await self._receive(socket)
            self.close_code = socket.close_code

    def _unheard_s(self, heard: Heard) -> float:
        """Return how long playback still lasts that began with the first packet."""
        samples = sum(packet.num_samples for packet in heard.packets)
        end_s = heard.packets[0].at_s + samples / self._plan.rate_hz
        return max(0.0, end_s - time.monotonic())

    async def _speak(self, socket: ClientWebSocketResponse) -> Heard:
        ctx = f"c{self._number}-{len(self.heard)}"
        heard = self.current = Heard(time.monotonic())
        self.heard.append(heard)
        self._alias = -1
        cancel_at = None
        if self._dice.random() < self._plan.cancels:
            cancel_at = self._dice.randint(1, _PACKET_LIMIT)
        for message in (
            {"type": "context.open", "ctx": ctx, "lang": "en", **self._plan.settings},
            {"type": "text", "ctx": ctx, "text": self._text(), "end": True},
        ):
            await socket.send_str(json.dumps(message))
        while self.current is heard and await self._receive(socket):
            if cancel_at is not None and len(heard.packets) >= cancel_at:
                cancel_at = None
                heard.cancelled_s = time.monotonic()
                await socket.send_str(json.dumps({"type": "cancel", "ctx": ctx}))
        return heard

    def _text(self) -> str:
        sentences = [
            " ".join(self._dice.choice(WORDS) for _ in range(self._dice.randint(5, 9)))
            for _ in range(2)
        ]
        return " ".join(f"{sentence.capitalize()}." for sentence in sentences)

    async def _receive(self, socket: ClientWebSocketResponse) -> bool:
        """Take one message; False when there are no more."""
        message = await socket.receive()
        if message.type is WSMsgType.BINARY:
            self._hear(message.data)
        elif message.type is WSMsgType.TEXT:
            self._read(json.loads(message.data))
        else:
            if self.current is not None:
                # One that drains may close while a new context is on its way to it.
                was_asked = self._alias < 0 and message.data == _RESTARTING
                self._end("draining" if was_asked else "the connection ended")
            return False
        return True

    def _hear(self, data: bytes) -> None:
        now_s = time.monotonic()
        self.num_messages += 1
        alias, packets = parse_audio(data)
        heard = self.current
        if heard is None or alias != self._alias:
            self.heard[-1].after_end += 1
            return
        heard.num_messages += 1
        size = self._plan.bytes_per_sample
        for packet in packets:
            samples = len(packet.payload) // size if size else self._plan.rate_hz // _FRAMES_PER_S
            heard.packets.append(Packet(now_s, packet.seq, samples))

    def _read(self, message: Mapping[str, object]) -> None:
        heard = self.current
        match message["type"]:
            case "context.started":
                alias = message["alias"]
                assert isinstance(alias, int)
                self._alias = alias
            case "context.done" if heard is not None:
                declared = message["packets"]
                assert isinstance(declared, int)
                heard.declared = declared
                self._end()
            case "context.cancelled" if heard is not None:
                heard.confirmed_s = time.monotonic()
                self._end()
            case "going_away":
                self.is_going = True
            case "error":
                self._end(f"{message['code']}: {message['message']}")

    def _end(self, error: str = "") -> None:
        if self.current is not None:
            self.current.error = error
            self.current = None
