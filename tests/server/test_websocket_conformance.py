"""RFC 6455 as the Autobahn test suite checks it, groups 1 to 7, 9 and 10.

The suite itself exists for Python 2.7 only, so it is no part of this project's environment
(tests/compat/test_autobahn.py runs it where there is one); its cases are written here with the
frames of `websockets`, an implementation that is not the server's. All run against an echo on a
socket made as every route makes it; what needs no echo (pings, reserved bits, fragments, UTF-8,
closing) runs against `/v1/tts/ws` too. Groups 12 and 13 are compression, which is never negotiated.
Each outcome is the suite's OK or NON-STRICT: where the standard lets a server finish reading a
broken message before it closes, both are right.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from aiohttp import WSMsgType, web
from websockets import frames
from websockets.client import ClientProtocol
from websockets.frames import Opcode
from websockets.uri import parse_uri

from server.app import MAX_WS_BYTES
from server.handshake import new_socket
from tests.server.live import serve

pytestmark = pytest.mark.security


class Frame(frames.Frame):
    """A frame that may be wrong."""

    def check(self) -> None:
        """Let everything pass."""


TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
PING, PONG, CLOSE = Opcode.PING, Opcode.PONG, Opcode.CLOSE
GOODBYE = Frame(CLOSE, b"\x03\xe8")  # 1000
KOSME = "Hello-µ@ßöäüàá-UTF-8!! κόσμε 𐀀 你好".encode()


def rsv(frame: Frame, bits: int) -> bytes:
    """Return a frame's bytes with reserved bits set."""
    data = bytearray(frame.serialize(mask=True))
    data[0] |= bits << 4
    return bytes(data)


def with_opcode(number: int, payload: bytes = b"") -> bytes:
    """Return a frame with an opcode the standard reserves."""
    data = bytearray(Frame(BINARY, payload).serialize(mask=True))
    data[0] = 0x80 | number
    return bytes(data)


def close(payload: bytes) -> Frame:
    """Return a close frame with a body."""
    return Frame(CLOSE, payload)


def fragments(opcode: Opcode, payload: bytes, size: int) -> list[Frame]:
    """Return a message in pieces."""
    pieces = [payload[i : i + size] for i in range(0, len(payload), size)] or [b""]
    last = len(pieces) - 1
    return [Frame(opcode if i == 0 else CONT, p, fin=i == last) for i, p in enumerate(pieces)]


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent, and what must come back.

    Attributes:
        replies: Opcodes and payloads expected before the end.
        codes: Close codes that are right; None among them: the connection may just end.
        needs_echo: It cannot be told at an endpoint that speaks JSON.
    """

    name: str
    sent: Sequence[Frame | bytes]
    replies: Sequence[tuple[Opcode, bytes]] = ()
    codes: frozenset[int | None] = frozenset({1000})
    needs_echo: bool = False


BROKEN = frozenset({1002, None})
BAD_TEXT = frozenset({1007, None})


def echoes() -> list[Case]:
    """Groups 1 and 9: lengths at every border of the header's, whole and in pieces."""
    cases = []
    for opcode in (TEXT, BINARY):
        for size in (0, 1, 125, 126, 127, 128, 65535, 65536, 1 << 20):
            data = b"*" * size
            cases.append(
                Case(f"1 {opcode.name} {size}", [Frame(opcode, data), GOODBYE], [(opcode, data)],
                     needs_echo=True)
            )  # fmt: skip
        for piece in (64, 1024, 32768):
            data = bytes(range(65, 91)) * 4096
            sent = [*fragments(opcode, data, piece), GOODBYE]
            name = f"9 {opcode.name} in pieces of {piece}"
            cases.append(Case(name, sent, [(opcode, data)], needs_echo=True))
    data = b"*" * 65536
    cases.append(Case("10 auto-fragmented", [*fragments(TEXT, data, 1300), GOODBYE],
                      [(TEXT, data)], needs_echo=True))  # fmt: skip
    return cases


def pings() -> list[Case]:
    """Group 2: payloads come back, pongs are nobody's business, long ones are refused."""
    payloads = [b"", b"Hello, world!", b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff", b"\xfe" * 125]
    cases = [Case(f"2 ping {len(p)}", [Frame(PING, p), GOODBYE], [(PONG, p)]) for p in payloads]
    many = [Frame(PING, b"payload-%d" % i) for i in range(10)]
    answers = [(PONG, b"payload-%d" % i) for i in range(10)]
    return [
        *cases,
        Case("2 ping of 126", [Frame(PING, b"\xfe" * 126)], codes=BROKEN),
        Case("2 unsolicited pong", [Frame(PONG, b"x"), GOODBYE]),
        Case("2 unsolicited pong, then ping", [Frame(PONG, b"x"), Frame(PING, b"y"), GOODBYE],
             [(PONG, b"y")]),
        Case("2 ten pings", [*many, GOODBYE], answers),
        Case("2 ten pings in pieces of bytes", [b"".join(f.serialize(mask=True) for f in many),
             GOODBYE], answers),
    ]  # fmt: skip


def reserved() -> list[Case]:
    """Groups 3 and 4: reserved bits and opcodes end the connection, also behind good frames."""
    hello, ping = Frame(TEXT, b"Hello, world!"), Frame(PING, b"x")
    cases = [Case(f"3 rsv {bits} text", [rsv(hello, bits)], codes=BROKEN) for bits in range(1, 8)]
    cases += [Case(f"3 rsv {bits} ping", [rsv(ping, bits)], codes=BROKEN) for bits in (1, 5)]
    cases += [Case("3 rsv close", [rsv(GOODBYE, 7)], codes=BROKEN)]
    cases += [
        Case("3 rsv behind a text", [hello, rsv(hello, 2), ping], [(TEXT, b"Hello, world!")],
             BROKEN, needs_echo=True)
    ]  # fmt: skip
    for number in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15):
        for payload in (b"", b"reserved"):
            data = with_opcode(number, payload)
            cases.append(Case(f"4 opcode {number} {len(payload)}", [data, ping], codes=BROKEN))
    return cases


def fragmentation() -> list[Case]:
    """Group 5: pieces with pings between them, control frames that are not whole, wrong orders."""
    first, last = Frame(TEXT, b"fragment1", fin=False), Frame(CONT, b"fragment2")
    more, ping = Frame(CONT, b"more", fin=False), Frame(PING, b"ping payload")
    whole = (TEXT, b"fragment1fragment2")
    pong = (PONG, b"ping payload")
    return [
        Case("5 ping in pieces", [Frame(PING, b"a", fin=False), Frame(CONT, b"b")], codes=BROKEN),
        Case("5 pong in pieces", [Frame(PONG, b"a", fin=False), Frame(CONT, b"b")], codes=BROKEN),
        Case("5 close in pieces", [Frame(CLOSE, b"\x03\xe8", fin=False)], codes=BROKEN),
        Case("5 two pieces", [first, last, GOODBYE], [whole], needs_echo=True),
        Case("5 ping between", [first, ping, last, GOODBYE], [pong, whole], needs_echo=True),
        Case("5 ping between three", [first, more, ping, last, GOODBYE],
             [pong, (TEXT, b"fragment1morefragment2")], needs_echo=True),
        Case("5 empty pieces", [Frame(TEXT, b"", fin=False), Frame(CONT, b"", fin=False),
             Frame(CONT, b"x"), GOODBYE], [(TEXT, b"x")], needs_echo=True),
        Case("5 a continuation of nothing", [last], codes=BROKEN),
        Case("5 an open continuation of nothing", [Frame(CONT, b"x", fin=False), first],
             codes=BROKEN),
        Case("5 a continuation after the last", [Frame(TEXT, b"x"), last], [(TEXT, b"x")], BROKEN,
             needs_echo=True),
        Case("5 a text within a text", [first, Frame(TEXT, b"again")], codes=BROKEN),
        Case("5 a binary within a text", [first, Frame(BINARY, b"again")], codes=BROKEN),
        Case("5 pings between every piece", [first, ping, more, ping, last, ping, GOODBYE],
             [pong, pong, (TEXT, b"fragment1morefragment2"), pong], needs_echo=True),
    ]  # fmt: skip


def utf8() -> list[Case]:
    """Group 6: text is UTF-8, however it is cut, and what is not ends with 1007."""
    good = [
        KOSME,
        "\U0010ffff".encode(),
        b"\xef\xbf\xbf",
        b"\xed\x9f\xbf",
        b"\xee\x80\x80",
        b"\x00",
    ]
    bad = [
        b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited",  # a surrogate inside
        b"\xf4\x90\x80\x80",  # above U+10FFFF
        b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80",  # five and six bytes
        b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf",  # overlong
        b"\x80", b"\xbf", b"\xff", b"\xfe", b"\xce", b"\xe1\xbd",  # alone, or cut off
    ]  # fmt: skip
    cases = []
    for data in good:
        cases.append(Case(f"6 good {data[:6]!r}", [Frame(TEXT, data), GOODBYE], [(TEXT, data)],
                          needs_echo=True))  # fmt: skip
        sent = [*fragments(TEXT, data, 1), GOODBYE]
        cases.append(Case(f"6 good by bytes {data[:6]!r}", sent, [(TEXT, data)], needs_echo=True))
    for data in bad:
        cases.append(Case(f"6 bad {data!r}", [Frame(TEXT, data)], codes=BAD_TEXT))
        cases.append(Case(f"6 bad by bytes {data!r}", fragments(TEXT, data, 1), codes=BAD_TEXT))
    return cases


def closing() -> list[Case]:
    """Group 7: the close handshake, its codes and its reason."""
    valid = (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999)
    invalid = (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535)
    echo = (TEXT, b"Hello World!")
    cases = [
        Case(f"7 code {code}", [close(code.to_bytes(2, "big") + b"bye")],
             codes=frozenset({code, 1000}))
        for code in valid
    ]  # fmt: skip
    cases += [
        Case(f"7 invalid code {code}", [close(code.to_bytes(2, "big"))], codes=BROKEN)
        for code in invalid
    ]
    return [
        *cases,
        Case("7 text, then close", [Frame(TEXT, echo[1]), GOODBYE], [echo], needs_echo=True),
        Case("7 close twice", [GOODBYE, GOODBYE]),
        Case("7 ping behind a close", [GOODBYE, Frame(PING, b"x")]),
        Case("7 text behind a close", [GOODBYE, Frame(TEXT, b"x")]),
        Case("7 close within a message", [Frame(TEXT, b"a", fin=False), GOODBYE]),
        Case("7 close without a body", [close(b"")], codes=frozenset({1000, 1005, None})),
        Case("7 close with one byte", [close(b"\x03")], codes=BROKEN),
        Case("7 longest reason", [close(b"\x03\xe8" + b"*" * 123)]),
        Case("7 reason too long", [close(b"\x03\xe8" + b"*" * 124)], codes=BROKEN),
        Case("7 reason that is no UTF-8", [close(b"\x03\xe8\xce\xba\xed\xa0\x80")],
             codes=frozenset({1007, 1002, None})),
    ]  # fmt: skip


CASES = [*echoes(), *pings(), *reserved(), *fragmentation(), *utf8(), *closing()]


async def converse(url: str, case: Case) -> tuple[list[tuple[Opcode, bytes]], int | None]:
    """Send a case; return the data and pongs that came, and the server's close code."""
    uri = parse_uri(url)
    peer = ClientProtocol(uri, max_size=None)
    reader, writer = await asyncio.open_connection(uri.host, uri.port)
    try:
        peer.send_request(peer.connect())
        writer.write(b"".join(peer.data_to_send()))
        head = await reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head.split(b"\r\n", 1)[0]
        peer.receive_data(head)
        peer.events_received()
        for part in case.sent:
            writer.write(part if isinstance(part, bytes) else part.serialize(mask=True))
        found: list[frames.Frame] = []
        while data := await _read(reader):
            peer.receive_data(data)
            found += [e for e in peer.events_received() if isinstance(e, frames.Frame)]
    finally:
        writer.close()
    assert peer.parser_exc is None or isinstance(peer.parser_exc, EOFError), "the server's frames"
    ends = [f for f in found if f.opcode is CLOSE]
    code = int.from_bytes(ends[0].data[:2], "big") if ends and ends[0].data else None
    return _messages(found), code


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read(65536)
    except ConnectionError:
        return b""


def _messages(received: Sequence[frames.Frame]) -> list[tuple[Opcode, bytes]]:
    """Return whole messages and pongs in the order they ended; the server's own pings not."""
    found: list[tuple[Opcode, bytes]] = []
    opcode, parts = TEXT, b""
    for frame in received:
        if frame.opcode is PONG:
            found.append((PONG, bytes(frame.data)))
        elif frame.opcode in (TEXT, BINARY, CONT):
            if frame.opcode is not CONT:
                opcode, parts = frame.opcode, b""
            parts += frame.data
            if frame.fin:
                found.append((opcode, parts))
    return found


@asynccontextmanager
async def echo_server() -> AsyncIterator[str]:
    """An echo on a socket with this server's settings."""

    async def echo(request: web.Request) -> web.WebSocketResponse:
        ws = new_socket(MAX_WS_BYTES)
        await ws.prepare(request)
        async for message in ws:
            if message.type is WSMsgType.TEXT:
                await ws.send_str(message.data)
            elif message.type is WSMsgType.BINARY:
                await ws.send_bytes(message.data)
        return ws

    app = web.Application()
    app.router.add_get("/echo", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/echo"
    finally:
        await runner.cleanup()


async def test_an_echo_on_our_sockets_conforms() -> None:
    """All cases."""
    wrong = []
    async with echo_server() as url:
        for case in CASES:
            async with asyncio.timeout(20):
                replies, code = await converse(url, case)
            if replies != list(case.replies) or code not in case.codes:
                shown = [(opcode.name, data[:20]) for opcode, data in replies]
                wrong.append(f"{case.name}: {shown}, close {code}")
    assert len(CASES) > 140
    assert wrong == []


async def test_the_native_endpoint_conforms() -> None:
    """The cases that need no echo; what it says itself is JSON and good UTF-8."""
    wrong = []
    async with serve("server.limits.request_timeout_s=5") as live:
        for case in CASES:
            if case.needs_echo:
                continue
            async with asyncio.timeout(20):
                replies, code = await converse(live.ws, case)
            pongs = [reply for reply in replies if reply[0] is PONG]
            for opcode, data in replies:
                if opcode is TEXT:
                    json.loads(data)
            if pongs != list(case.replies) or code not in case.codes:
                wrong.append(f"{case.name}: {len(pongs)} pongs, close {code}")
        await live.runtime.wait_empty()
        assert live.runtime.admission.num_connections == 0
    assert wrong == []
