"""The secret that a watermark is made from, and the file it is kept in."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import WatermarkError

KEY_BYTES = 32
_WORD_BYTES = 8
# Part of what is hashed: a later kind of mark must not share its phases with this one.
_PURPOSE = b"sovits-live watermark 1"


class WatermarkKey:
    """32 secret bytes. Whoever has them can find the mark, and take it out."""

    def __init__(self, secret: bytes) -> None:
        """Take the bytes.

        Raises:
            WatermarkError: If there are not 32 of them.
        """
        if len(secret) != KEY_BYTES:
            raise WatermarkError(f"a watermark key has {KEY_BYTES} bytes, not {len(secret)}")
        self._secret = bytes(secret)

    @classmethod
    def generate(cls) -> WatermarkKey:
        """Return a new one from the system's random source."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def read(cls, path: Path) -> WatermarkKey:
        """Read a key file: one line of 64 hexadecimal digits; `#` starts a comment.

        Raises:
            WatermarkError: If it cannot be read or holds something else; never quotes it.
        """
        try:
            text = path.read_text(encoding="ascii")
        except OSError as error:
            reason = error.strerror or "unknown error"
            raise WatermarkError(f"{path} cannot be read: {reason}; {_HOW_TO_MAKE}") from None
        except UnicodeDecodeError:
            raise WatermarkError(f"{path} is not a watermark key; {_HOW_TO_MAKE}") from None
        lines = [line.split("#", 1)[0].strip() for line in text.splitlines()]
        words = [line for line in lines if line]
        try:
            if len(words) != 1:
                raise ValueError
            return cls(bytes.fromhex(words[0]))
        except (ValueError, WatermarkError):
            valid = f"one line of {2 * KEY_BYTES} hexadecimal digits"
            raise WatermarkError(f"{path} is not a watermark key: valid: {valid}") from None

    def write(self, path: Path) -> None:
        """Write a key file that only its owner may read, and never over another file.

        Raises:
            WatermarkError: If there is a file already, or none can be made.
        """
        text = f"# sovits-live watermark key: keep it secret, and keep it\n{self._secret.hex()}\n"
        try:
            number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(number, "w", encoding="ascii") as file:
                file.write(text)
        except FileExistsError:
            hint = "a key that is lost is not made again"
            raise WatermarkError(f"{path} is there already and stays: {hint}") from None
        except OSError as error:
            raise WatermarkError(f"{path} cannot be written: {error.strerror}") from None

    def phases(self, count: int) -> NDArray[np.float64]:
        """Return the first `count` phases of the key, float64 [count] in [0, 2 pi).

        SHAKE-256 of purpose and secret: without the key they cannot be told from random ones.
        """
        data = hashlib.shake_256(_PURPOSE + self._secret).digest(count * _WORD_BYTES)
        words = np.frombuffer(data, "<u8") >> np.uint64(11)  # the 53 bits of a double
        return np.asarray(words * (2 * np.pi / 2**53), np.float64)


_HOW_TO_MAKE = "make one with: sovits-live watermark new-key FILE"
