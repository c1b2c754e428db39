"""The process that decodes what strangers send."""

from __future__ import annotations

import asyncio
import sys

import pytest

from server.enrolment import EnrolJob, Enroller, check_magic
from server.errors import ClientError

JOB = EnrolJob("v", "default", "t", "zh", "", "me", False, False, "pack", "voices")


def scripted(code: str) -> Enroller:
    """Return an enroller whose process runs some Python."""
    return Enroller((sys.executable, "-S", "-c", f"import sys; sys.stdin.buffer.read(); {code}"))


async def test_the_answer_is_the_last_line() -> None:
    """Whatever a library prints before it."""
    enroller = scripted("print('hello'); print('{\"voice\": \"v\"}')")
    assert await enroller.enrol(JOB, b"") == {"voice": "v"}


async def test_a_process_that_is_killed_is_the_recordings_fault() -> None:
    """A decoder that crashes or is stopped by its limits is an answer, not a failure of ours."""
    with pytest.raises(ClientError, match="limits of time and memory") as refused:
        await scripted("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)").enrol(JOB, b"")
    assert refused.value.code == "bad_reference"


async def test_a_bug_in_the_process_is_internal(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing of its traceback reaches the client; the log has it, whatever bytes it holds."""
    code = r"sys.stderr.buffer.write(b'trace\xff'); raise SystemExit(3)"
    with pytest.raises(RuntimeError, match="^the enrolment process failed$"):
        await scripted(code).enrol(JOB, b"")
    assert caplog.records[-1].__dict__["stderr"] == "trace\ufffd"


async def test_one_at_a_time_and_few_may_wait() -> None:
    """The fifth is told to come back."""
    enroller = scripted("print('{}')")
    jobs = [asyncio.create_task(enroller.enrol(JOB, b"")) for _ in range(5)]
    results = await asyncio.gather(*jobs, return_exceptions=True)
    refused = [result for result in results if isinstance(result, ClientError)]
    assert [error.code for error in refused] == ["rate_limited"]
    assert await enroller.enrol(JOB, b"") == {}


@pytest.mark.parametrize(
    "data", [b"RIFF....WAVE", b"OggS", b"fLaC", b"ID3\x04", b"\xff\xfb\x90\x00", b"\0\0\0 ftypM4A "]
)
def test_recordings_begin_like_recordings(data: bytes) -> None:
    """WAV, Ogg, FLAC, MP3 with and without a tag, M4A."""
    check_magic(data)


@pytest.mark.parametrize("data", [b"", b"MZ", b"#!/bin/sh", b"<svg>", b"PK\x03\x04", b"%PDF"])
def test_other_files_do_not(data: bytes) -> None:
    """Refused by what they begin with."""
    with pytest.raises(ClientError, match="audio begins with"):
        check_magic(data)
