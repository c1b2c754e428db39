"""`sovits-live model pull` from a hub on this machine with tiny files of the official format."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from engine.errors import InvalidParameter
from engine.hub import SOURCES, VERSIONS, HubFile, Role, sources_of
from engine.manifest import hash_file
from engine.pack import load_pack
from server.cli import main
from tests.hub_server import Hub, serving
from tests.tiny_packs import tiny_request


@pytest.fixture
def hub(fixtures_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with tiny v2Pro files, named in the list of versions."""
    request = tiny_request(fixtures_dir, tmp_path / "official", "v2Pro")
    assert request.hubert and request.bert and request.speaker
    found = [
        (Role.GPT, "s1v3.ckpt", request.gpt),
        (Role.SOVITS, "v2Pro/s2Gv2Pro.pth", request.sovits),
        (Role.SPEAKER, "sv/speaker.ckpt", request.speaker),
    ]
    for role, folder in ((Role.HUBERT, request.hubert), (Role.BERT, request.bert)):
        found += [(role, f"{role}/{path.name}", path) for path in sorted(folder.iterdir())]
    files = tuple(
        HubFile(role, name, hash_file(path), path.stat().st_size) for role, name, path in found
    )
    monkeypatch.setattr("engine.pull_command.VERSIONS", {"v2Pro": files})
    with serving(Hub({name: path.read_bytes() for _, name, path in found})) as running:
        yield running


def pull(hub: Hub, packs: Path, *options: str) -> int:
    """Run the command as a user does."""
    where = ["--source", hub.url, "--packs-dir", str(packs), "--no-export"]
    return main(["model", "pull", "v2Pro", *where, *options])


def test_pull_makes_a_pack_and_tidies_up(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through cuts and a busy server to a pack that is whole; the next steps are printed."""
    hub.cut_after = [1000, 50]
    hub.statuses = [503]
    packs = tmp_path / "data" / "packs"
    assert pull(hub, packs) == 0
    pack = load_pack(packs / "v2Pro")
    pack.verify()
    assert pack.family == "v2Pro" and len(pack.info.licences) == 4
    assert not (tmp_path / "data" / "downloads").exists()
    out, err = capsys.readouterr()
    assert "sovits-live export v2Pro" in out and "sovits-live serve --pack v2Pro" in out
    assert "1/" in err and "s1v3.ckpt" in err


def test_pack_that_exists_is_not_fetched_again(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said before the first byte; --replace and --keep-files do what they say."""
    packs = tmp_path / "packs"
    assert pull(hub, packs, "--keep-files") == 0
    assert (tmp_path / "downloads" / "s1v3.ckpt").is_file()
    asked = len(hub.asked)
    assert pull(hub, packs) == 1
    assert "or anew with --replace" in capsys.readouterr().err
    assert pull(hub, packs, "--replace") == 0
    assert len(hub.asked) == asked


def test_wrong_file_makes_no_pack(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is not the official file is refused and deleted; the right ones stay for another try."""
    hub.files["v2Pro/s2Gv2Pro.pth"] = b"not this one"
    assert pull(hub, tmp_path / "packs") == 1
    assert "Choose another --source" in capsys.readouterr().err
    assert not (tmp_path / "packs").exists()
    kept = {p.name for p in (tmp_path / "downloads").rglob("*") if p.is_file()}
    assert kept == {"s1v3.ckpt"}


def test_no_room_is_said_before_the_first_byte(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the figures and what to do."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1_000_000))
    assert pull(hub, tmp_path / "packs") == 1
    assert "free some space, or choose another disk" in capsys.readouterr().err
    assert hub.asked == []


def test_next_hub_is_asked_where_one_fails(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without --source every hub in turn, and it is said; one that failed is not asked again."""
    with serving(Hub()) as empty:
        urls = f"{empty.url}/dead", f"{hub.url}"
        chosen = tuple(source for url in urls for source in sources_of(url))
        monkeypatch.setattr("engine.pull_command.sources_of", lambda choice: chosen)
        where = ["--packs-dir", str(tmp_path / "packs"), "--no-export"]
        assert main(["model", "pull", "v2Pro", *where]) == 0
        assert len(empty.asked) == 1
    assert "the server answered 404" in capsys.readouterr().err


def test_no_network_is_one_line(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A hub that is not there: what to look at, no traceback."""
    with serving(Hub()) as gone:
        pass
    assert pull(gone, tmp_path / "packs") == 1
    err = capsys.readouterr().err
    assert "is there a network" in err and "model import" in err and "Traceback" not in err


def test_sources_have_names_and_addresses() -> None:
    """Each hub by name, one's own by address, anything else refused with what is valid."""
    (mirror,) = sources_of("hf-mirror")
    path = "gsv-v2final-pretrained/s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt"
    assert mirror.url(path) == (
        f"{SOURCES['hf-mirror'].base_url}/gsv-v2final-pretrained/"
        "s1bert25hz-5kh-longer-epoch%3D12-step%3D369668.ckpt"
    )
    assert len(sources_of("auto")) == len(SOURCES)
    assert sources_of("https://files.example/gpt/")[0].url("a/b") == "https://files.example/gpt/a/b"
    with pytest.raises(InvalidParameter, match="valid: auto, huggingface, hf-mirror, modelscope"):
        sources_of("nowhere")


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_has_what_an_import_needs(version: str) -> None:
    """One GPT, one SoVITS, whole folders, a speaker network for Pro; sums are sha256."""
    files = VERSIONS[version]
    roles = [file.role for file in files]
    assert roles.count(Role.GPT) == roles.count(Role.SOVITS) == 1
    assert roles.count(Role.SPEAKER) == version.startswith("v2Pro")
    names = {file.path.rpartition("/")[2] for file in files}
    assert {"config.json", "pytorch_model.bin", "tokenizer.json"} <= names
    sums = [file.sha256 for file in files]
    assert len(set(sums)) == len(sums)
    assert all(len(bytes.fromhex(s)) == hashlib.sha256().digest_size for s in sums)
