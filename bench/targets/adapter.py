"""What the adapters have in common: a codec by the dialect's name, a key, utterances by number."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import ClassVar

from bench.decode import AudioFormat
from bench.targets.base import TargetConfig
from bench.targets.sockets import Cancelled, Done
from engine.errors import InvalidParameter


class Adapter:
    """One dialect with one configuration.

    Attributes:
        codecs: The dialect's name for each codec it has; empty: all, by our names.
        format: Of the audio that is asked for.
    """

    codecs: ClassVar[Mapping[str, str]] = {}
    format: AudioFormat

    def __init__(self, config: TargetConfig) -> None:
        """Check the codec.

        Raises:
            InvalidParameter: If the dialect has no such codec.
        """
        codec = config.format.codec
        if self.codecs and codec not in self.codecs:
            raise InvalidParameter("codec", codec, ", ".join(self.codecs))
        self._config = config
        self.format = config.format

    @property
    def _codec(self) -> str:
        """The codec as the dialect calls it."""
        return self.codecs[self._config.format.codec]

    def _key(self, header: str = "Authorization", scheme: str = "Bearer ") -> dict[str, str]:
        """Return the header with the key; none without a key."""
        key = self._config.key
        return {header: f"{scheme}{key}"} if key else {}


class SocketAdapter(Adapter):
    """A dialect that is spoken on a socket; see Dialect for what is to be added."""

    is_announced = False
    is_greeted = False

    def __init__(self, config: TargetConfig) -> None:
        super().__init__(config)
        self._numbers = itertools.count(1)
        self._name = ""
        self._is_stopped = False

    def _begin(self, name: str | None = None) -> str:
        """Begin the next utterance and return its name."""
        self._name, self._is_stopped = name or f"bench-{next(self._numbers)}", False
        return self._name

    def _ended(self) -> Cancelled | Done:
        """Return what the end of an utterance means: of a server that says the same for both."""
        return Cancelled() if self._is_stopped else Done()
