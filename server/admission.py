"""Who may connect, and how much: keys, origins, connections and active contexts.

A refusal is a ClientError raised before the WebSocket upgrade, so that it becomes a plain HTTP
answer with a status a client library understands (401, 403, 429, 503).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from server.config import LimitsSection, is_loopback
from server.errors import ClientError, ConfigError
from server.quotas import Account, Allowance

logger = logging.getLogger(__name__)

ANONYMOUS = "anonymous"
_QUEUE_S = 0.3  # a context waits for room that long
_OVERLOADED_RETRY_S = 0.5


def hash_key(key: str) -> str:
    """Return what the keys file holds for a key."""
    return hashlib.sha256(key.encode()).hexdigest()


class Keys:
    """The API keys this server accepts, known by their hashes only."""

    def __init__(
        self, names: Mapping[str, str], allowances: Mapping[str, Allowance] | None = None
    ) -> None:
        """Take {sha256 of key: name of its holder}; empty means that no key is asked for.

        Args:
            allowances: By holder; a holder without one has no limits of its own.
        """
        self._names = dict(names)
        self.allowances = dict(allowances or {})

    @classmethod
    def read(cls, path: Path) -> Keys:
        """Read lines of `name sha256 [limit=value ...]`; `#` starts a comment.

        The limits are those of Allowance; several keys of one name share what its last line says.

        Raises:
            ConfigError: If the file cannot be read, a line is something else, or it is empty.
        """
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise ConfigError(f"keys file {path} cannot be read: {error.strerror}") from None
        names: dict[str, str] = {}
        allowances: dict[str, Allowance] = {}
        for number, line in enumerate(lines, 1):
            fields = line.split("#", 1)[0].split()
            if not fields:
                continue
            digest = fields[1].lower() if len(fields) > 1 else ""
            if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
                raise ConfigError(f"{path}:{number}: valid: NAME SHA256-OF-KEY [LIMIT=VALUE ...]")
            try:
                allowances[fields[0]] = Allowance.parse(fields[2:])
            except ValueError as error:
                raise ConfigError(f"{path}:{number}: {error}") from None
            names[digest] = fields[0]
        if not names:
            raise ConfigError(f"keys file {path} holds no key")
        return cls(names, allowances)

    def read_again(self, path: Path) -> Keys:
        """Return what `path` says now; where it is half written, or wrong, these keys stay good."""
        try:
            return Keys.read(path)
        except ConfigError as error:
            logger.error("keys were not read again", extra={"error": str(error)})
            return self

    @property
    def holders(self) -> frozenset[str]:
        """Everybody who has a key."""
        return frozenset(self._names.values())

    @property
    def are_required(self) -> bool:
        """True if a request without a key is refused."""
        return bool(self._names)

    def holder(self, key: str | None) -> str:
        """Return whose key this is.

        Raises:
            ClientError: unauthorized.
        """
        if not self._names:
            return ANONYMOUS
        if key is None:
            message = "no key, valid: Authorization: Bearer KEY"
            raise ClientError("unauthorized", message)
        given = hash_key(key)
        # Every hash is compared in constant time: the answer's delay says nothing about them.
        found = [name for digest, name in self._names.items() if hmac.compare_digest(digest, given)]
        if not found:
            raise ClientError("unauthorized", "the key is not one of this server's")
        return found[0]


def check_origin(
    origin: str | None, host: str | None, allowed: tuple[str, ...], *, has_keys: bool
) -> None:
    """Refuse a browser page of another site (cross-site WebSocket hijacking).

    Programs send no Origin and pass. A page of this server itself passes. Without keys its name
    must be one of this machine: any other can be made to resolve to it (DNS rebinding).

    Raises:
        ClientError: forbidden_origin.
    """
    if origin is None or origin in allowed or "*" in allowed:
        return
    parts = urlsplit(origin)
    if origin != "null" and host is not None and parts.netloc == host:
        if has_keys or is_loopback(parts.hostname or ""):
            return
    raise ClientError(
        "forbidden_origin", f"origin {origin!r:.200} is not allowed; add it to server.origins"
    )


@dataclass(frozen=True, slots=True)
class Guest:
    """One admitted connection.

    Attributes:
        connections: How many its key may have, where that is less than the server's limit.
    """

    address: str
    key: str
    connections: int | None = None


class Admission:
    """Counts connections and active contexts against the limits."""

    def __init__(self, limits: LimitsSection) -> None:
        self._limits = limits
        self._by_address: Counter[str] = Counter()
        self._by_key: Counter[str] = Counter()
        self.num_connections = 0
        self.num_contexts = 0
        self.num_realtime = 0  # of the contexts: somebody listens while they are made
        self.capacity: int | None = None  # of real-time contexts, as measured; None: not known
        self._freed = asyncio.Event()  # a context ended
        self.is_draining = False
        self.is_ready = False

    def enter(self, guest: Guest) -> None:
        """Count a connection in.

        Raises:
            ClientError: draining, warming_up, overloaded or rate_limited.
        """
        limits = self._limits
        self.check_open()
        if self.num_connections >= limits.max_connections:
            raise ClientError("overloaded", f"{limits.max_connections} connections are open")
        # Behind a proxy on this machine everybody has the loopback address.
        if not is_loopback(guest.address):
            self._check(self._by_address[guest.address], limits.connections_per_ip, "this address")
        if guest.key != ANONYMOUS:
            most = min(limits.connections_per_key, guest.connections or limits.connections_per_key)
            self._check(self._by_key[guest.key], most, "this key")
        self.num_connections += 1
        self._by_address[guest.address] += 1
        self._by_key[guest.key] += 1

    def check_open(self) -> None:
        """Refuse while the server drains or is not ready.

        Raises:
            ClientError: draining or warming_up.
        """
        if self.is_draining:
            raise ClientError("draining", "the server is shutting down")
        if not self.is_ready:
            raise ClientError("warming_up", "the engine is not ready, try again shortly")

    def leave(self, guest: Guest) -> None:
        """Count a connection out."""
        self.num_connections -= 1
        for counter, name in ((self._by_address, guest.address), (self._by_key, guest.key)):
            counter[name] -= 1
            if not counter[name]:
                del counter[name]

    async def open_context(
        self, account: Account, *, is_realtime: bool
    ) -> AbstractContextManager[None]:
        """Count a context in, once there is room; it is counted out when the block is left.

        Args:
            is_realtime: Somebody listens while it is made, so it must be made in time.

        Raises:
            ClientError: overloaded, if there is no room for another utterance in time, or
                quota_exceeded, if the key has none.
        """
        try:
            async with asyncio.timeout(_QUEUE_S):
                while self._shortage(is_realtime):
                    self._freed.clear()
                    await self._freed.wait()
        except TimeoutError:
            text = self._shortage(is_realtime) or "there was no room in time"
            raise ClientError("overloaded", text, retry_after_s=_OVERLOADED_RETRY_S) from None
        account.open_context()
        self.num_contexts += 1
        self.num_realtime += is_realtime
        return self._counting(account, is_realtime)

    @property
    def slots_free(self) -> int:
        """How many more real-time contexts would be taken now."""
        free = self._limits.max_active_contexts - self.num_contexts
        if self.capacity is not None:
            free = min(free, self.capacity - self.num_realtime)
        return max(0, free)

    def _shortage(self, is_realtime: bool) -> str:
        """Return why there is no room for another context; empty if there is."""
        limit = self._limits.max_active_contexts
        if self.num_contexts >= limit:
            return f"{limit} contexts are active on this server"
        if is_realtime and self.capacity is not None and self.num_realtime >= self.capacity:
            return f"{self.num_realtime} contexts are spoken in real time, as many as can be here"
        return ""

    @contextmanager
    def _counting(self, account: Account, is_realtime: bool) -> Iterator[None]:
        try:
            yield
        finally:
            self.num_contexts -= 1
            self.num_realtime -= is_realtime
            account.close_context()
            self._freed.set()

    @staticmethod
    def _check(count: int, limit: int, whose: str) -> None:
        if count >= limit:
            raise ClientError("rate_limited", f"{limit} connections of {whose} are open")


class TokenBucket:
    """How many messages a session may send: `rate` per second, bursts of twice that.

    Attributes:
        is_short: From when it was empty until it is half full again.
    """

    def __init__(self, rate: float, now_s: float) -> None:
        self._rate = rate
        self._tokens = 2 * rate
        self._last_s = now_s
        self.is_short = False

    def take(self, now_s: float) -> float:
        """Take one token; return the seconds to wait before the next message is read."""
        self._tokens = min(2 * self._rate, self._tokens + (now_s - self._last_s) * self._rate)
        self._last_s = now_s
        self._tokens -= 1
        self.is_short = self._tokens < (self._rate if self.is_short else 0)
        return max(0.0, -self._tokens / self._rate)
