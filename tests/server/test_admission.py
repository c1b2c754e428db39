"""Keys, origins, connection limits and the message bucket."""

from __future__ import annotations

from pathlib import Path

import pytest

from server.admission import ANONYMOUS, Admission, Guest, Keys, TokenBucket, check_origin, hash_key
from server.config import LimitsSection
from server.errors import ClientError, ConfigError


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
        check_origin(origin, "tts.local:8080", allowed)
    check_origin("https://any.example", "h", ("*",))
    for origin in ("https://app.example.evil", "null", "http://tts.local", "http://x", "tts.local"):
        with pytest.raises(ClientError):
            check_origin(origin, "tts.local:8080", allowed)
    with pytest.raises(ClientError):
        check_origin("http://x", None, ())


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
