"""What a request says before its WebSocket exists."""

from __future__ import annotations

import socket

import pytest
from aiohttp.test_utils import make_mocked_request

from server.errors import ClientError
from server.handshake import bearer, offered_protocols, tune, with_query
from server.settings import Settings


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({"Authorization": "Bearer k"}, "k"),
        ({"Authorization": "bearer  k "}, "k"),
        ({"Authorization": "Basic k"}, None),
        ({"Authorization": "Bearer "}, None),
        ({"Sec-WebSocket-Protocol": "sovits.tts.v1, bearer.k"}, "k"),
        ({"Sec-WebSocket-Protocol": ","}, None),
    ],
)
def test_keys_come_by_header_or_subprotocol(headers: dict[str, str], key: str | None) -> None:
    """Browsers can only send the second."""
    assert bearer(make_mocked_request("GET", "/", headers=headers)) == key


def test_protocols_are_listed_in_order() -> None:
    """Spaces do not matter."""
    request = make_mocked_request("GET", "/", headers={"Sec-WebSocket-Protocol": "a,  b"})
    assert offered_protocols(request) == ["a", "b"]


def test_the_query_sets_some_defaults() -> None:
    """Numbers are numbers, unknown names are ignored."""
    request = make_mocked_request("GET", "/?voice=v&speed=1.5&lead_ms=300&token=t&utm=1")
    settings = with_query(request, Settings())
    assert (settings.voice, settings.speed, settings.lead_ms) == ("v", 1.5, 300)


@pytest.mark.parametrize("query", ["speed=x", "lead_ms=-1", "lead_ms=1.5", "voice=", "format=mp3"])
def test_a_bad_query_is_named(query: str) -> None:
    """By its name in the URL."""
    with pytest.raises(ClientError, match=query.split("=")[0]):
        with_query(make_mocked_request("GET", f"/?{query}"), Settings())


class Transport:
    """A transport with this socket."""

    def __init__(self, sock: object) -> None:
        self._sock = sock

    def get_extra_info(self, name: str) -> object:
        """Return the socket."""
        assert name == "socket"
        return self._sock


def test_tunes_tcp_sockets_only() -> None:
    """Little is left in the kernel; a Unix socket or none is no error."""
    with socket.socket() as sock:
        tune(Transport(sock))  # type: ignore[arg-type]
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    pair = socket.socketpair()
    for end in pair:
        tune(Transport(end))  # type: ignore[arg-type]
        end.close()
    tune(None)


def test_an_option_the_system_lacks_is_skipped() -> None:
    """The others are still set."""

    class Stubborn:
        family = socket.AF_INET

        def __init__(self) -> None:
            self.tried: list[int] = []

        def setsockopt(self, level: int, option: int, value: int) -> None:
            self.tried.append(option)
            raise OSError("no such option")

    stubborn = Stubborn()
    tune(Transport(stubborn))  # type: ignore[arg-type]
    assert len(stubborn.tried) == 3
