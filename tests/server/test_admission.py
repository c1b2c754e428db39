"""Keys, origins, connection limits and the message bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.admission import ANONYMOUS, Admission, Guest, Keys, TokenBucket, check_origin, hash_key
from server.config import LimitsSection
from server.errors import ClientError, ConfigError
from server.quotas import Account, Allowance


def write(tmp_path: Path, text: str) -> Path:
    """Return a keys file."""
    path = tmp_path / "keys"
    path.write_text(text)
    return path


def test_keys_are_known_by_their_hash(tmp_path: Path) -> None:
    """Names come back, comments and empty lines are skipped."""
    path = write(
        tmp_path, f"# keys\n\nalice {hash_key('a')} # first\nbob {hash_key('b').upper()}\n"
    )
    keys = Keys.read(path)
    assert keys.are_required
    assert (keys.holder("a"), keys.holder("b")) == ("alice", "bob")
    for wrong in (None, "", "c", hash_key("a")):
        with pytest.raises(ClientError) as caught:
            keys.holder(wrong)
        assert caught.value.code == "unauthorized"


def test_without_keys_anybody_may_come() -> None:
    """Clients that insist on sending a key are welcome too."""
    assert Keys({}).holder("not-needed") == Keys({}).holder(None) == ANONYMOUS
    assert not Keys({}).are_required


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key"),
        ("alice secret", ":1: valid: NAME SHA256-OF-KEY"),
        ("x\nalice", ":1: valid"),
        (f"alice bob {'0' * 64}", ":1: valid"),
        ("alice " + "g" * 64, ":1: valid"),
    ],
)
def test_a_damaged_keys_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """With the line; a key in clear text is not accepted by accident."""
    with pytest.raises(ConfigError, match=message):
        Keys.read(write(tmp_path, text))
    with pytest.raises(ConfigError, match="cannot be read"):
        Keys.read(tmp_path / "missing")


def test_origins() -> None:
    """None, the own host and the listed ones pass; a suffix or prefix of them does not."""
    allowed = ("https://app.example",)
    for origin in (None, "https://app.example", "http://tts.local:8080"):
        check_origin(origin, "tts.local:8080", allowed, has_keys=True)
    check_origin("https://any.example", "h", ("*",), has_keys=True)
    for origin in ("https://app.example.evil", "null", "http://tts.local", "http://x", "tts.local"):
        with pytest.raises(ClientError):
            check_origin(origin, "tts.local:8080", allowed, has_keys=True)
    with pytest.raises(ClientError):
        check_origin("http://x", None, (), has_keys=True)


@pytest.mark.parametrize("host", ["localhost:8080", "127.0.0.1:8080", "[::1]:8080"])
def test_a_page_of_a_name_that_was_bent_to_this_machine_is_refused(host: str) -> None:
    """Its origin is the host it asked; without keys only this machine's own names are believed."""
    check_origin(f"http://{host}", host, (), has_keys=False)
    bent = "evil.example:8080"
    with pytest.raises(ClientError, match="add it to server.origins"):
        check_origin(f"http://{bent}", bent, (), has_keys=False)
    check_origin(f"http://{bent}", bent, (f"http://{bent}",), has_keys=False)


def test_connections_per_address_are_limited() -> None:
    """But not those of this machine, where a proxy may stand."""
    admission = Admission(LimitsSection(connections_per_ip=1))
    admission.is_ready = True
    far, near = Guest("203.0.113.9", ANONYMOUS), Guest("127.0.0.1", ANONYMOUS)
    admission.enter(far)
    admission.enter(near)
    admission.enter(near)
    with pytest.raises(ClientError) as caught:
        admission.enter(far)
    assert caught.value.code == "rate_limited"
    admission.leave(far)
    admission.enter(far)
    assert admission.num_connections == 3


async def test_real_time_contexts_keep_to_what_was_measured() -> None:
    """Others, files and batch jobs, only to the fixed limit."""
    admission = Admission(LimitsSection(max_active_contexts=4))
    account = Account("alice", Allowance(), lambda: 0.0)
    assert admission.slots_free == 4
    admission.capacity = 2
    assert admission.slots_free == 2
    with await admission.open_context(account, is_realtime=True):
        await admission.open_context(account, is_realtime=False)
        with await admission.open_context(account, is_realtime=True):
            assert admission.slots_free == 0
            with pytest.raises(ClientError, match="2 contexts are spoken in real time") as caught:
                await admission.open_context(account, is_realtime=True)
            assert (caught.value.code, caught.value.retry_after_ms) == ("overloaded", 500)
            with await admission.open_context(account, is_realtime=False):
                pass
        with await admission.open_context(account, is_realtime=True):
            pass
    assert (admission.num_realtime, admission.num_contexts) == (0, 1)


def test_the_bucket_lets_bursts_through_and_then_one_at_a_time() -> None:
    """Twice the rate at once; short until half full again."""
    bucket = TokenBucket(10, 0.0)
    assert [bucket.take(0.0) for _ in range(20)] == [0.0] * 20
    assert bucket.take(0.0) == pytest.approx(0.1)
    assert bucket.is_short
    assert bucket.take(0.5) == 0.0
    assert bucket.is_short
    assert bucket.take(2.0) == 0.0
    assert not bucket.is_short
