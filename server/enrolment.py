"""Uploaded recordings become voices, one at a time, in a process each."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from server.errors import ClientError

logger = logging.getLogger(__name__)

_MAX_WAITING = 4
_CODES = frozenset({"bad_reference", "voice_not_found", "unsupported_lang"})  # said as they are
_TIMEOUT_S = 240.0
_ROOT = Path(__file__).parents[1]  # a checkout that is not installed is found from here
# What a file of each kind begins with, at which offset.
_MAGIC = (
    (0, b"RIFF"),
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),
    (0, b"FORM"),
    (4, b"ftyp"),  # M4A
    (0, b"\x1a\x45\xdf\xa3"),  # WebM
)


@dataclass(frozen=True, slots=True)
class EnrolJob:
    """What to make of a recording; the fields of the upload and where things are."""

    voice: str
    style: str
    text: str
    lang: str
    description: str
    consent: str
    denoise: bool
    replace: bool
    pack: str
    voices_dir: str


def check_magic(data: bytes) -> None:
    """Refuse what does not begin like a recording.

    Raises:
        ClientError: unsupported_format.
    """
    is_mp3 = len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0
    if is_mp3 or any(data[at : at + len(magic)] == magic for at, magic in _MAGIC):
        return
    valid = "a WAV, FLAC, Ogg, MP3, AIFF, M4A or WebM file"
    raise ClientError("unsupported_format", f"audio begins with {data[:8]!r}, valid: {valid}")


class Enroller:
    """Runs `server.enrol_child`; the others wait."""

    def __init__(self, command: tuple[str, ...] = (sys.executable, "-m", "server.enrol_child")):
        self._command = command
        self._turn = asyncio.Lock()
        self._num_waiting = 0

    async def enrol(self, job: EnrolJob, audio: bytes) -> Mapping[str, Any]:
        """Make a voice; return what is to be said about it.

        Raises:
            ClientError: rate_limited, or what is wrong with the recording.
        """
        if self._num_waiting >= _MAX_WAITING:
            raise ClientError("rate_limited", f"{_MAX_WAITING} recordings wait to be enrolled")
        self._num_waiting += 1
        try:
            async with self._turn:
                return await self._run(json.dumps(asdict(job)).encode() + b"\n" + audio)
        finally:
            self._num_waiting -= 1

    async def _run(self, given: bytes) -> Mapping[str, Any]:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *self._command, stdin=pipe, stdout=pipe, stderr=pipe, cwd=_ROOT
        )
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                out, errors = await process.communicate(given)
        except TimeoutError:
            raise ClientError("bad_reference", "the recording took too long") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return self._answer(process.returncode, out, errors)

    @staticmethod
    def _answer(status: int | None, out: bytes, errors: bytes) -> Mapping[str, Any]:
        if status is not None and status < 0:
            logger.warning("enrolment ended by a signal", extra={"signal": -status})
            text = "audio could not be decoded within the limits of time and memory"
            raise ClientError("bad_reference", text)
        if status != 0 or not out:
            logger.error(
                "enrolment failed", extra={"stderr": errors[-2000:].decode(errors="replace")}
            )
            raise RuntimeError("the enrolment process failed")
        answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        if "error" in answer:
            code = answer["error"]["code"]
            code = code if code in _CODES else "bad_message"
            raise ClientError(code, answer["error"]["message"])
        return answer
