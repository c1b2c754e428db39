"""One-time tokens."""

from __future__ import annotations

import pytest

from server import tokens
from server.errors import ClientError
from server.tokens import Grant, TokenStore


class Clock:
    """Seconds that move when told to."""

    now = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def refused(store: TokenStore, token: str, origin: str | None = None) -> str:
    """Return the code a token is refused with."""
    with pytest.raises(ClientError) as caught:
        store.redeem(token, origin)
    return caught.value.code


def test_a_token_works_once_and_for_a_while() -> None:
    """Replayed, late and invented ones are refused alike."""
    clock = Clock()
    store = TokenStore(clock)
    first, second = store.mint("alice", ttl_s=30), store.mint("bob", ttl_s=30, voice="v")
    assert first != second and len(first) >= 32
    assert store.redeem(first, None) == Grant("alice", None)
    assert refused(store, first) == "token_expired"
    assert refused(store, "invented") == "token_expired"
    clock.now = 30.0
    assert store.redeem(second, "https://any.example") == Grant("bob", "v")
    third = store.mint("alice", ttl_s=1)
    clock.now = 31.1
    assert refused(store, third) == "token_expired"


def test_a_token_of_another_origin_is_used_up() -> None:
    """A stolen token cannot be tried from several places."""
    store = TokenStore(Clock())
    token = store.mint("alice", ttl_s=30, origin="https://a.example")
    assert refused(store, token, "https://b.example") == "forbidden_origin"
    assert refused(store, token, "https://a.example") == "token_expired"


def test_tokens_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Unused ones expire; too many at a time are refused."""
    monkeypatch.setattr(tokens, "MAX_TOKENS", 2)
    clock = Clock()
    store = TokenStore(clock)
    store.mint("alice", ttl_s=1)
    store.mint("alice", ttl_s=1)
    with pytest.raises(ClientError, match="2 tokens"):
        store.mint("alice", ttl_s=1)
    clock.now = 5.0
    store.mint("alice", ttl_s=1)
