from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engine.errors import EngineFailed, InvalidParameter, Overloaded, TextError
from engine.text.frontend import Frontend
from engine.text.pool import FrontendPool
from engine.types import Language

AMOUNT = "卖了 1234 件。"
TEXT = "你好，请打开 WiFi，谢谢。"


@pytest.fixture(scope="module")
def direct() -> Frontend:
    return Frontend("v2")


@pytest.fixture(scope="module")
def pool() -> Iterator[FrontendPool]:
    """One pool for the file: a start takes seconds. It is bound to no event loop."""
    made = FrontendPool("v2", max_pending=4)
    asyncio.run(made.start())
    yield made
    asyncio.run(made.close())


async def test_results_equal_the_frontends(pool: FrontendPool, direct: Frontend) -> None:
    """A worker returns what Frontend returns, digit style included, several calls at once."""
    calls = [pool.phonemize(TEXT, Language.AUTO) for _ in range(3)]
    read = pool.phonemize(AMOUNT, Language.ZH, digits="read")
    *many, digits = await asyncio.gather(*calls, read)
    expected = direct.phonemize(TEXT, Language.AUTO)
    for phonemes in many:
        np.testing.assert_array_equal(phonemes.ids, expected.ids)
        assert phonemes.words == expected.words
    other = direct.phonemize(AMOUNT, Language.ZH, digits="read")
    assert digits.normalized_text == other.normalized_text
    assert digits.normalized_text != direct.phonemize(AMOUNT, Language.ZH).normalized_text


async def test_errors_keep_their_type(pool: FrontendPool) -> None:
    """A typed error crosses the process border whole, and the worker goes on."""
    with pytest.raises(TextError, match="cyrillic script") as caught:
        await pool.phonemize("Привет", Language.AUTO)
    assert caught.value.code == "unsupported_lang"
    with pytest.raises(InvalidParameter, match="digits is 'x', valid: auto, read, cardinal"):
        await pool.phonemize(TEXT, Language.AUTO, digits="x")
    assert len(await pool.phonemize(TEXT, Language.AUTO)) > 10


async def test_the_queue_is_bounded_and_a_cancelled_call_leaves_it(
    pool: FrontendPool,
) -> None:
    """The fifth of four places is refused; cancelling frees one at once."""
    calls = [asyncio.create_task(pool.phonemize(TEXT, Language.AUTO)) for _ in range(4)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded, match="4 sentences wait"):
        await pool.phonemize(TEXT, Language.AUTO)
    calls[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
    assert len(await pool.phonemize(TEXT, Language.AUTO)) > 10
    await asyncio.gather(*calls[1:])
    assert pool.num_pending == 0


async def test_a_killed_worker_is_replaced_and_the_call_repeated(pool: FrontendPool) -> None:
    """SIGKILL of the only worker during calls loses none of them."""
    before = pool.num_restarts
    (pid,) = pool.worker_pids
    calls = [asyncio.create_task(pool.phonemize("abcde", Language.EN)) for _ in range(3)]
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGKILL)
    results = await asyncio.gather(*calls)
    # The kill may have come after the results; the next call then meets the dead worker.
    after = await pool.phonemize("abcde", Language.EN)
    assert [len(result) for result in results] == [len(after)] * 3
    assert pool.num_restarts == before + 1
    assert pid not in pool.worker_pids


async def test_a_sentence_that_kills_its_worker_fails_alone(pool: FrontendPool) -> None:
    """A call whose worker dies each time ends with a retryable error; later calls work."""

    async def killer() -> None:
        while True:
            for pid in pool.worker_pids:
                with contextlib.suppress(ProcessLookupError):  # dead already, not yet replaced
                    os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.001)

    for pid in pool.worker_pids:
        os.kill(pid, signal.SIGSTOP)  # else it may have answered before it is killed
    killing = asyncio.create_task(killer())
    with pytest.raises(EngineFailed, match="failed on a sentence of 5 characters") as caught:
        await pool.phonemize("abcde", Language.EN)
    assert caught.value.retryable
    killing.cancel()
    assert len(await pool.phonemize("abcde", Language.EN)) > 0


async def test_closing_ends_what_waits() -> None:
    """Calls that wait when the frontend closes fail; their tasks are not cancelled."""
    frontend = FrontendPool("v2")
    await frontend.start()
    calls = [asyncio.create_task(frontend.phonemize(TEXT * 20, Language.AUTO)) for _ in range(20)]
    await asyncio.sleep(0)
    await frontend.close()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert failed
    assert all(isinstance(outcome, EngineFailed) for outcome in failed)
    await frontend.close()  # twice does no harm
    with pytest.raises(EngineFailed, match="closed"):
        await frontend.phonemize(TEXT, Language.AUTO)


async def test_what_keeps_a_worker_from_starting_is_raised(tmp_path: Path) -> None:
    """A bad lexicon file is named by start, in its own error type."""
    path = tmp_path / "words.toml"
    path.write_text('a = "XX1"', encoding="utf-8")
    frontend = FrontendPool("v2", lexicon=path)
    with pytest.raises(TextError, match="words.toml entry 'a': 'XX1' is no ARPAbet phone"):
        await frontend.start()


def test_sizes_are_checked() -> None:
    """No worker and no queue place are mistakes, not a frontend that hangs."""
    with pytest.raises(InvalidParameter, match="workers is 0, valid: 1 or more"):
        FrontendPool("v2", workers=0)
    with pytest.raises(InvalidParameter, match="max_pending is 0, valid: 1 or more"):
        FrontendPool("v2", max_pending=0)
