"""One file from a hub: resumed, checked, and every failure told with what to do."""

from __future__ import annotations

import hashlib
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.download import DISK_FULL, PIECE_BYTES, Retries, fetch
from engine.errors import DownloadError
from engine.manifest import hash_file
from tests.hub_server import Hub, serving

BODY = random.Random(1).randbytes(3 * PIECE_BYTES + 17)
SUM = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def hub() -> Iterator[Hub]:
    """A hub with one file."""
    with serving(Hub(files={"big file=1.bin": BODY})) as running:
        yield running


def get(hub: Hub, target: Path, sha256: str = SUM, times: int = 3) -> list[float]:
    """Fetch the file; return the pauses made."""
    pauses: list[float] = []
    url = f"{hub.url}/big%20file%3D1.bin"
    fetch(url, target, sha256, retries=Retries(times), sleep=pauses.append)
    return pauses


def test_file_arrives_whole_and_is_not_fetched_twice(hub: Hub, tmp_path: Path) -> None:
    """The second call asks nobody."""
    target = tmp_path / "deep" / "file.bin"
    told: list[tuple[int, int]] = []
    fetch(f"{hub.url}/big%20file%3D1.bin", target, SUM, on_bytes=lambda d, t: told.append((d, t)))
    assert target.read_bytes() == BODY and hash_file(target) == SUM
    assert told[0][1] == len(BODY) and told[-1] == (len(BODY), len(BODY))
    assert get(hub, target) == []
    assert len(hub.asked) == 1


def test_cut_connection_goes_on_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    """Two cuts cost two more requests, and no byte comes twice."""
    hub.cut_after = [PIECE_BYTES + 5, 1000]
    assert get(hub, tmp_path / "file.bin") == [1.0, 1.0]
    ranges = [asked for _, asked in hub.asked]
    assert ranges == [None, f"bytes={PIECE_BYTES + 5}-", f"bytes={PIECE_BYTES + 1005}-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_connection_that_brings_nothing_is_given_up(hub: Hub, tmp_path: Path) -> None:
    """After so many cuts in a row without a byte; what came before stays for the next run."""
    hub.cut_after = [100] + [0] * 9
    with pytest.raises(DownloadError, match="3 times in a row; what came is kept"):
        get(hub, tmp_path / "file.bin", times=2)
    assert (tmp_path / "file.bin.part").stat().st_size == 100
    hub.cut_after = []
    assert get(hub, tmp_path / "file.bin") == []
    assert hub.asked[-1][1] == "bytes=100-"


def test_server_without_ranges_starts_again(hub: Hub, tmp_path: Path) -> None:
    """An answer 200 to a range is the whole file."""
    hub.ignores_ranges = True
    hub.cut_after = [PIECE_BYTES]
    get(hub, tmp_path / "file.bin")
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_part_that_is_whole_already_only_gets_its_name(hub: Hub, tmp_path: Path) -> None:
    """A run that was stopped before the check is finished by the next."""
    (tmp_path / "file.bin.part").write_bytes(BODY)
    get(hub, tmp_path / "file.bin")
    assert hash_file(tmp_path / "file.bin") == SUM


@pytest.mark.parametrize("before", [b"", b"rubbish from another file"])
def test_wrong_checksum_leaves_nothing(hub: Hub, tmp_path: Path, before: bytes) -> None:
    """A file that is not the official one is deleted, and so is a part that was not of it."""
    wanted = SUM if before else "0" * 64
    (tmp_path / "file.bin.part").write_bytes(before)
    with pytest.raises(DownloadError, match="it was deleted. Choose another --source"):
        get(hub, tmp_path / "file.bin", sha256=wanted)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("says_length", [True, False])
def test_body_that_is_far_too_long_does_not_fill_the_disk(
    hub: Hub, tmp_path: Path, says_length: bool
) -> None:
    """Known from its head or from what came; nothing of it stays."""
    hub.says_length = says_length
    with pytest.raises(DownloadError, match="more than 1 MB and is not the official file"):
        fetch(f"{hub.url}/big%20file%3D1.bin", tmp_path / "file.bin", SUM, most_bytes=PIECE_BYTES)
    assert list(tmp_path.iterdir()) == []


def test_busy_server_is_asked_again_and_a_refusal_is_not(hub: Hub, tmp_path: Path) -> None:
    """503 passes, 404 does not."""
    hub.statuses = [503, 429]
    assert get(hub, tmp_path / "file.bin") == [1.0, 2.0]
    hub.statuses = [404]
    with pytest.raises(DownloadError, match="the server answered 404; choose another --source"):
        get(hub, tmp_path / "other.bin")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_full_disk_says_what_to_do(hub: Hub, tmp_path: Path) -> None:
    """The system's own error, once, without another try."""
    (tmp_path / "file.bin.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match="free some space and run the same") as raised:
        get(hub, tmp_path / "file.bin")
    assert raised.value.code == DISK_FULL
    assert len(hub.asked) == 1


def test_no_network_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No name can be resolved: one sentence, no retries, no half file."""

    def fail(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    with pytest.raises(DownloadError, match="is there a network.*--source") as raised:
        fetch("http://hub.invalid/x", tmp_path / "x", SUM)
    assert "name resolution" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_network_that_goes_away_midway_is_waited_for(tmp_path: Path) -> None:
    """Once bytes have come, a refused connection is a pause and not the end."""
    pauses: list[float] = []
    hub = Hub(files={"f": BODY}, cut_after=[10])
    running = serving(hub)
    running.__enter__()

    def stop_the_server(pause: float) -> None:
        if not pauses:
            running.__exit__(None, None, None)
        pauses.append(pause)

    with pytest.raises(DownloadError, match="refused.*3 times in a row; what came is kept"):
        fetch(f"{hub.url}/f", tmp_path / "f", SUM, retries=Retries(2), sleep=stop_the_server)
    assert pauses == [1.0, 1.0, 2.0]
    with pytest.raises(DownloadError, match="cannot be reached"):
        fetch(f"{hub.url}/f", tmp_path / "f", SUM, sleep=pauses.append)
    assert len(pauses) == 3
