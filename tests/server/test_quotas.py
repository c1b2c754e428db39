"""What a key may use: parsed, counted, refused with what is left, in every protocol."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from server import admission, file_watch
from server.admission import Keys, hash_key
from server.errors import ClientError, ConfigError
from server.quotas import Account, Accounts, Allowance
from server.settings import Settings
from tests.fakes import Script
from tests.server.dialects.sockets import peer
from tests.server.live import serve

KEYS = {"Authorization": "Bearer sesame"}


class Clock:
    """A clock that is set."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def account(clock: Clock | None = None, **limits: object) -> Account:
    """Return an account with limits."""
    return Account("alice", Allowance(**limits), clock or Clock())  # type: ignore[arg-type]


def keys_file(folder: Path, limits: str) -> str:
    """Return the setting of a keys file whose only key, `sesame`, has limits."""
    path = folder / "keys"
    path.write_text(f"alice {hash_key('sesame')} {limits}\n")
    return f"server.keys_file={path}"


def test_the_keys_file_holds_allowances(tmp_path: Path) -> None:
    """By holder; without words nothing is limited."""
    path = tmp_path / "keys"
    path.write_text(
        f"alice {hash_key('a')} contexts=2 chars_per_min=600 priority=live # a page\n"
        f"bob {hash_key('b')}\n"
    )
    keys = Keys.read(path)
    assert keys.allowances["alice"] == Allowance(contexts=2, chars_per_min=600, priority="live")
    assert keys.allowances["bob"] == Allowance()
    assert keys.holder("a") == "alice"


@pytest.mark.parametrize(
    "word", ["contexts=0", "contexts=x", "contexts", "seats=4", "priority=vip"]
)
def test_a_limit_that_is_none_is_refused(tmp_path: Path, word: str) -> None:
    """With file, line, word and what is valid."""
    path = tmp_path / "keys"
    path.write_text(f"# one\nalice {hash_key('a')} {word}\n")
    with pytest.raises(ConfigError, match=f":2: '{word}', valid: "):
        Keys.read(path)


def test_characters_come_back_with_time() -> None:
    """The error says what the limit is, what is left and when to come back."""
    clock = Clock()
    mine = account(clock, chars_per_min=60)
    mine.spend_chars(50)
    with pytest.raises(ClientError) as caught:
        mine.spend_chars(30)
    assert caught.value.code == "quota_exceeded"
    assert caught.value.message == (
        "chars_per_min is 60 for this key, 10 left, 30 asked for; try again in 20 s"
    )
    assert caught.value.retry_after_ms == 20_000
    mine.spend_chars(10)  # what is refused is not taken
    clock.now += 20
    mine.spend_chars(20)
    clock.now += 3600
    with pytest.raises(ClientError) as caught:
        mine.spend_chars(61)
    assert caught.value.retry_after_ms is None  # never: it is more than the bucket


def test_a_day_of_audio_ends_and_begins_again() -> None:
    """What is being spoken is not cut off; what is new is refused."""
    clock = Clock()
    mine = account(clock, audio_s_per_day=10)
    mine.spend_chars(1000)
    mine.spend_audio(12.0)
    for asked in (lambda: mine.spend_chars(1), mine.open_context):
        with pytest.raises(ClientError, match="audio_s_per_day is 10 for this key, 0 s left"):
            asked()
    clock.now += 86_400
    mine.open_context()


def test_contexts_are_counted_over_all_connections() -> None:
    """And counted out."""
    mine = account(contexts=1)
    mine.open_context()
    with pytest.raises(ClientError, match="contexts is 1 for this key, 0 left"):
        mine.open_context()
    mine.close_context()
    mine.open_context()


def test_voices_are_counted_by_who_adds_them() -> None:
    """Refused where as many are there already."""
    account().check_voices(1000)
    account(voices=2).check_voices(1)
    with pytest.raises(ClientError, match="voices is 2 for this key, 0 left; remove one"):
        account(voices=2).check_voices(2)


def test_a_key_may_ask_for_its_priority_and_below() -> None:
    """What nobody asked for is lowered; what is asked for and not allowed is refused by name."""
    mine = account(priority="live")
    mine.check(Settings(priority="live"))
    mine.check(Settings(priority="batch"))
    with pytest.raises(ClientError, match="'telephony', valid for this key: live, batch") as caught:
        mine.check(Settings(priority="telephony"))
    assert caught.value.code == "forbidden_priority"
    assert account(priority="batch").lowered(Settings()).priority == "batch"
    assert account().lowered(Settings(priority="batch")).priority == "batch"


def test_accounts_are_kept() -> None:
    """A holder has one account; a stranger has no limits."""
    accounts = Accounts({"alice": Allowance(contexts=1)}, Clock())
    assert accounts.of("alice") is accounts.of("alice")
    assert accounts.of("alice").allowance.contexts == 1
    assert accounts.of("bob").allowance == Allowance()


async def test_the_native_socket_says_what_is_left(tmp_path: Path) -> None:
    """Text, contexts of two connections, priority; the socket stays open."""
    setting = keys_file(tmp_path, "contexts=1 chars_per_min=40 priority=live")
    async with (
        serve(setting, script=Script(gates={0: asyncio.Event()})) as live,
        live.session(additional_headers=KEYS) as one,
        live.session(additional_headers=KEYS) as other,
    ):
        await one.send("text", ctx="a", text="One two three four five.")
        await one.packet()
        await one.send("text", ctx="a", text=" And six and seven.")
        error = await one.next("error")
        assert (error["code"], error["ctx"]) == ("quota_exceeded", "a")
        assert "chars_per_min is 40 for this key, 16 left, 19 asked for" in error["message"]
        assert 0 < error["retry_after_ms"] <= 5000
        await other.send("text", ctx="b", text="No.")
        error = await other.next("error")
        assert "contexts is 1 for this key, 0 left" in error["message"]
        await other.send("context.open", ctx="c", priority="telephony")
        assert (await other.next("error"))["code"] == "forbidden_priority"


async def test_dialects_have_the_same_limits(tmp_path: Path) -> None:
    """As a status with Retry-After, before the first byte; connections at the upgrade."""
    setting = keys_file(tmp_path, "connections=1 chars_per_min=30 priority=batch")
    body = {"input": "One two three four.", "voice": "anna", "response_format": "pcm"}
    async with serve(setting) as live, aiohttp.ClientSession(headers=KEYS) as http:
        url = f"{live.http}/v1/audio/speech"
        async with http.post(url, json=body) as response:
            assert response.status == 200 and await response.read()
        assert live.engine.jobs[0].priority == "batch"
        async with http.post(url, json=body) as response:
            assert response.status == 429
            assert int(response.headers["Retry-After"]) >= 15
            assert "chars_per_min is 30" in json.dumps(await response.json())
        async with live.session(additional_headers=KEYS):
            async with http.post(url, json={**body, "input": "A."}) as response:
                assert response.status == 429
                assert "1 connections of this key" in json.dumps(await response.json())


async def test_audio_is_counted_when_it_is_sent(tmp_path: Path) -> None:
    """A context that ends and one that is cut off."""
    async with serve(keys_file(tmp_path, "audio_s_per_day=1")) as live:
        async with live.session(additional_headers=KEYS) as client:
            await client.send("text", ctx="a", text="One two three four five six.", end=True)
            done = await client.next("context.done")
            assert done["usage"]["audio_ms"] > 1000
            await client.send("text", ctx="b", text="More.")
            error = await client.next("error")
            assert "audio_s_per_day is 1 for this key" in error["message"]


async def test_a_key_that_is_taken_back_ends_its_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """4401 without a restart, on every protocol; others go on, and new limits hold at once."""
    monkeypatch.setattr(file_watch, "INTERVAL_S", 0.05)
    path = tmp_path / "keys"
    bob = f"bob {hash_key('open')}\n"
    path.write_text(f"alice {hash_key('sesame')}\n{bob}")
    gate = asyncio.Event()
    async with (
        serve(f"server.keys_file={path}", script=Script(gates={0: gate})) as live,
        live.session(additional_headers=KEYS) as alice,
        live.session(additional_headers={"Authorization": "Bearer open"}) as other,
        peer(live, "/v1/speak?model=anna", additional_headers=KEYS) as deepgram,
    ):
        await alice.send("text", ctx="a", text="One two three four five.")
        await alice.packet()
        path.write_text(f"{bob.strip()} chars_per_min=5\n")
        error = await alice.next("error")
        assert (error["code"], error["fatal"]) == ("unauthorized", True)
        await alice.rest()
        assert alice.ws.close_code == 4401
        assert (await deepgram.rest())[0] == 4401
        await other.send("text", ctx="b", text="One two three.")
        assert "chars_per_min is 5" in (await other.next("error"))["message"]
        path.write_text("no keys")  # a file that is wrong changes nothing
        await asyncio.sleep(0.2)
        async with live.session(additional_headers={"Authorization": "Bearer open"}):
            pass


async def test_a_context_waits_a_moment_for_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """`context.started` says how long it was."""
    monkeypatch.setattr(admission, "_QUEUE_S", 30.0)  # 0.3 is little on a machine that is busy
    gate = asyncio.Event()
    limits = "server.limits.max_active_contexts=1"
    async with serve(limits, script=Script(gates={0: gate})) as live, live.session() as client:
        await client.send("text", ctx="a", text="One two three.", end=True)
        await client.packet()
        await client.send("text", ctx="b", text="Four.", end=True)
        await client.send("ping", t=1)
        await client.next("pong")  # the server has read what came before: b waits
        await asyncio.sleep(0.05)
        gate.set()
        started = await client.next("context.started", ctx="b")
        assert started["queue_ms"] >= 40
        await client.next("context.done", ctx="b")
