"""What each API key may use, and what it has used. Pure: the clock is given.

A line of the keys file may end with limits, such as `contexts=4 chars_per_min=6000`; what is not
named is not limited. Counts are kept in memory: a restart forgives them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeAlias, get_args

from server.errors import ClientError
from server.settings import Settings

Priority: TypeAlias = Literal["telephony", "live", "batch"]
PRIORITIES: tuple[Priority, ...] = get_args(Priority)  # the most urgent first
_DAY_S = 86_400.0
_MINUTE_S = 60.0


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one key may use; None: as much as the server has.

    Attributes:
        connections: Open at once.
        contexts: Open at once, on all its connections.
        chars_per_min: Text received, in a bucket of one minute.
        audio_s_per_day: Audio sent, in windows of 24 hours.
        voices: There may be in the server's folder, those of others included; for administrators.
        priority: The most urgent class it may ask for.
    """

    connections: int | None = None
    contexts: int | None = None
    chars_per_min: int | None = None
    audio_s_per_day: int | None = None
    voices: int | None = None
    priority: Priority = "telephony"

    @classmethod
    def parse(cls, words: list[str]) -> Allowance:
        """Read `name=value` words.

        Raises:
            ValueError: Naming the word and what is valid.
        """
        values: dict[str, int | str] = {}
        names = [field.name for field in fields(cls)]
        for word in words:
            name, _, value = word.partition("=")
            if name not in names:
                raise ValueError(f"{word!r:.80}, valid: {', '.join(f'{n}=' for n in names)}")
            if name == "priority":
                if value not in PRIORITIES:
                    raise ValueError(f"{word!r:.80}, valid: priority={'|'.join(PRIORITIES)}")
                values[name] = value
            elif value.isascii() and value.isdecimal() and int(value) > 0:
                values[name] = int(value)
            else:
                raise ValueError(f"{word!r:.80}, valid: {name}= and a number above 0")
        return cls(**values)  # type: ignore[arg-type]


class Account:
    """One key's allowance and use.

    Attributes:
        holder: Whose key it is.
    """

    def __init__(self, holder: str, allowance: Allowance, clock: Callable[[], float]) -> None:
        self.holder = holder
        self.allowance = allowance
        self._clock = clock
        self._num_contexts = 0
        self._chars_left = float(allowance.chars_per_min or 0)
        self._chars_at_s = clock()
        self._audio_s = 0.0
        self._day_began_s = clock()

    # --- contexts and text ------------------------------------------------------------------------

    def open_context(self) -> None:
        """Count a context in.

        Raises:
            ClientError: quota_exceeded.
        """
        most = self.allowance.contexts
        if most is not None and self._num_contexts >= most:
            raise self._exceeded("contexts", most, "0 left; wait until one of them ends", None)
        self._check_audio()
        self._num_contexts += 1

    def close_context(self) -> None:
        """Count a context out."""
        self._num_contexts -= 1

    def spend_chars(self, count: int) -> None:
        """Take text from the minute's bucket, all of it or none.

        Raises:
            ClientError: quota_exceeded, with when there will be enough.
        """
        self._check_audio()
        most = self.allowance.chars_per_min
        if most is None:
            return
        now = self._clock()
        per_s = most / _MINUTE_S
        self._chars_left = min(float(most), self._chars_left + (now - self._chars_at_s) * per_s)
        self._chars_at_s = now
        if count > self._chars_left:
            left = f"{int(self._chars_left)} left, {count} asked for"
            # More than the whole bucket never fits: there is no time to wait for.
            wait_s = (count - self._chars_left) / per_s if count <= most else None
            raise self._exceeded("chars_per_min", most, left, wait_s)
        self._chars_left -= count

    def spend_audio(self, seconds: float) -> None:
        """Note audio that was sent; what is being spoken is not cut off."""
        self._audio_s += seconds

    def _check_audio(self) -> None:
        most = self.allowance.audio_s_per_day
        if most is None:
            return
        now = self._clock()
        if now - self._day_began_s >= _DAY_S:
            self._day_began_s, self._audio_s = now, 0.0
        if self._audio_s >= most:
            wait_s = self._day_began_s + _DAY_S - now
            raise self._exceeded("audio_s_per_day", most, "0 s left", wait_s)

    def _exceeded(self, name: str, most: int, left: str, wait_s: float | None) -> ClientError:
        text = f"{name} is {most} for this key, {left}"
        if wait_s is not None:
            text += f"; try again in {wait_s:.0f} s"
        return ClientError("quota_exceeded", text, retry_after_s=wait_s)

    # --- voices and priority ----------------------------------------------------------------------

    def check_voices(self, count: int) -> None:
        """Refuse another voice beside `count` that are there.

        Raises:
            ClientError: quota_exceeded.
        """
        most = self.allowance.voices
        if most is not None and count >= most:
            raise self._exceeded("voices", most, "0 left; remove one of them first", None)

    def check(self, settings: Settings) -> None:
        """Refuse a class that is above the key's.

        Raises:
            ClientError: forbidden_priority.
        """
        allowed = PRIORITIES[PRIORITIES.index(self.allowance.priority) :]
        if settings.priority not in allowed:
            valid = ", ".join(allowed)
            text = f"priority is {settings.priority!r}, valid for this key: {valid}"
            raise ClientError("forbidden_priority", text)

    def lowered(self, settings: Settings) -> Settings:
        """Return settings nobody asked for with a class the key may have."""
        most = max(PRIORITIES.index(settings.priority), PRIORITIES.index(self.allowance.priority))
        return replace(settings, priority=PRIORITIES[most])


class Accounts:
    """The accounts of all keys; a holder without an allowance has no limits."""

    def __init__(self, allowances: Mapping[str, Allowance], clock: Callable[[], float]) -> None:
        self._allowances = dict(allowances)
        self._clock = clock
        self._accounts: dict[str, Account] = {}

    def replace(self, allowances: Mapping[str, Allowance]) -> None:
        """Take new allowances; what was used stays used."""
        self._allowances = dict(allowances)
        for holder, account in self._accounts.items():
            account.allowance = self._allowances.get(holder, Allowance())

    def of(self, holder: str) -> Account:
        """Return a holder's account."""
        account = self._accounts.get(holder)
        if account is None:
            allowance = self._allowances.get(holder, Allowance())
            account = self._accounts[holder] = Account(holder, allowance, self._clock)
        return account
