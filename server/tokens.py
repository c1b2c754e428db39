"""One-time tokens for browsers, which cannot send a key with a WebSocket.

A page's own server mints one with its key (`POST /v1/tokens`); the page connects with
`?token=...` once, within a minute, from the origin it was minted for. Kept in memory only.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from server.errors import ClientError
from server.wire import Range

MAX_TTL_S = 60
MAX_TOKENS = 100_000  # unused ones at a time; each is some 200 bytes
TTL = Range(1, MAX_TTL_S)


@dataclass(frozen=True, slots=True)
class _Minted:
    holder: str
    origin: str | None
    voice: str | None
    expires_s: float


@dataclass(frozen=True, slots=True)
class Grant:
    """What a redeemed token allows.

    Attributes:
        holder: Whose key minted it.
        voice: The only voice that may be used; None: any.
    """

    holder: str
    voice: str | None


class TokenStore:
    """Mints and redeems."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._tokens: dict[str, _Minted] = {}  # in order of minting

    def mint(
        self, holder: str, *, ttl_s: float, origin: str | None = None, voice: str | None = None
    ) -> str:
        """Return a new token.

        Raises:
            ClientError: quota_exceeded, when too many are waiting to be used.
        """
        self._drop_expired()
        if len(self._tokens) >= MAX_TOKENS:
            raise ClientError("quota_exceeded", f"{MAX_TOKENS} tokens are waiting to be used")
        token = secrets.token_urlsafe(24)
        self._tokens[token] = _Minted(holder, origin, voice, self._clock() + ttl_s)
        return token

    def redeem(self, token: str, origin: str | None) -> Grant:
        """Use a token up; return what it allows.

        Raises:
            ClientError: token_expired for one that is unknown, old or used; forbidden_origin.
        """
        minted = self._tokens.pop(token, None)
        if minted is None or minted.expires_s < self._clock():
            raise ClientError("token_expired", "the token is unknown, used or too old: mint a new")
        if minted.origin is not None and minted.origin != origin:
            raise ClientError("forbidden_origin", "the token was minted for another origin")
        return Grant(minted.holder, minted.voice)

    def _drop_expired(self) -> None:
        now = self._clock()
        self._tokens = {t: m for t, m in self._tokens.items() if m.expires_s >= now}
