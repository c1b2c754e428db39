"""Voices on disk: what is saved is what is loaded; bad ones are refused and hide no other."""

from __future__ import annotations

import json
import shlex
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InvalidParameter, VoiceError
from engine.model_config import AcousticConfig, ModelConfig, T2SConfig
from engine.pack import Pack, PackInfo, Part, write_pack
from engine.types import Language, Style, Voice
from engine.voices import PackVoices, VoiceStore, check_pack

STYLE = Style(
    prompt_phoneme_ids=np.arange(5, dtype=np.int64),
    prompt_tokens=np.arange(7, dtype=np.int64),
    vector=np.linspace(-1, 1, 16, dtype=np.float32),
    language=Language.ZH,
    transcript='他说："你好"。',
    prompt_bert=np.ones((4, 5), np.float32),
    speaker_embedding=None,
    gain_db=-2.5,
)
VOICE = Voice("anna", "f" * 64, {"default": STYLE}, "a voice", "Anna agreed on 2026-01-01")


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    """A store with one voice, `anna`."""
    store = VoiceStore(tmp_path / "voices")
    store.save(VOICE, "demo")
    return store


def _same(a: Style, b: Style) -> None:
    for name in ("prompt_phoneme_ids", "prompt_tokens", "vector", "prompt_bert"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
        assert getattr(a, name).dtype == getattr(b, name).dtype
    assert (a.language, a.transcript, a.gain_db) == (b.language, b.transcript, b.gain_db)


def test_voice_comes_back_as_saved(store: VoiceStore) -> None:
    """Every number and word survives; what was None stays None."""
    voice = VoiceStore(store.directory).load("anna")
    assert (voice.id, voice.description, voice.consent) == ("anna", "a voice", VOICE.consent)
    assert voice.pack_fingerprint == VOICE.pack_fingerprint
    _same(voice.styles["default"], STYLE)
    assert voice.styles["default"].speaker_embedding is None


def test_a_voice_can_be_read_by_another_user(store: VoiceStore) -> None:
    """Whoever adds it need not be whom the server runs as: it would be called damaged."""
    files = (store.directory / VOICE.id).iterdir()
    assert {path.name: path.stat().st_mode & 0o444 for path in files} == {
        "voice.json": 0o444,
        "voice.safetensors": 0o444,
    }


def test_only_features_are_stored_unless_asked(store: VoiceStore) -> None:
    """Two files, and the recording only when it is to be kept; replacing drops it again."""
    folder = store.directory / "anna"
    assert sorted(p.name for p in folder.iterdir()) == ["voice.json", "voice.safetensors"]
    store.save(VOICE, "demo", references={"../../a.wav": b"RIFF"}, replace=True)
    assert (folder / "references" / "a.wav").read_bytes() == b"RIFF"
    store.save(VOICE, "demo", replace=True, keep_references=True)
    assert (folder / "references" / "a.wav").exists()
    store.save(VOICE, "demo", replace=True)
    assert not (folder / "references").exists()
    assert [p.name for p in store.directory.iterdir()] == ["anna"]


def test_existing_voice_is_not_overwritten(store: VoiceStore) -> None:
    """Saving needs `replace`."""
    with pytest.raises(VoiceError, match="--replace"):
        store.save(replace(VOICE, description="other"), "demo")
    assert store.load("anna").description == "a voice"


@pytest.mark.parametrize("name", ["", "Anna", "../x", "a/b", "-a", "a" * 65, "a b", "ä", "a\n"])
def test_bad_ids_never_reach_the_disk(store: VoiceStore, name: str) -> None:
    """Saving, loading and removing refuse them; nothing appears."""
    with pytest.raises(InvalidParameter):
        store.save(replace(VOICE, id=name), "demo")
    for action in (store.load, store.remove, store.record):
        with pytest.raises(VoiceError, match="there is no voice"):
            action(name)
    assert [p.name for p in store.directory.iterdir()] == ["anna"]


def test_bad_style_names_are_refused(store: VoiceStore) -> None:
    """Style names follow the same rule as ids."""
    with pytest.raises(InvalidParameter, match="style"):
        store.save(replace(VOICE, id="b", styles={"default": STYLE, "So Sad": STYLE}), "demo")


def _truncate(folder: Path) -> None:
    path = folder / "voice.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def _edit(folder: Path, **changes: object) -> None:
    path = folder / "voice.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes))


@pytest.mark.parametrize(
    "damage",
    [
        _truncate,
        lambda folder: (folder / "voice.safetensors").unlink(),
        lambda folder: (folder / "voice.json").write_text("{"),
        lambda folder: _edit(folder, format=9),
        lambda folder: _edit(folder, id="eva"),
        lambda folder: _edit(folder, styles={}),
        lambda folder: _edit(folder, pack=None),
    ],
    ids=["cut", "no tensors", "no json", "format", "other id", "no styles", "no pack"],
)
def test_damaged_voice_says_how_to_repair(store: VoiceStore, damage: object) -> None:
    """The error names the voice and the command that removes it; other voices still load."""
    store.save(replace(VOICE, id="ben"), "demo")
    damage(store.directory / "anna")  # type: ignore[operator]
    with pytest.raises(VoiceError, match=r"'anna' is damaged.*voice remove anna"):
        store.load("anna")
    assert store.load("ben").id == "ben"
    assert "ben" in store.listing().records
    store.remove("anna")
    assert list(store.listing().records) == ["ben"]


def test_changed_voice_is_loaded_anew(store: VoiceStore) -> None:
    """The cache notices that a voice was replaced, by this store or another."""
    assert store.load("anna") is store.load("anna")
    VoiceStore(store.directory).save(replace(VOICE, description="new"), "demo", replace=True)
    assert store.load("anna").description == "new"


def test_cache_is_bounded(tmp_path: Path) -> None:
    """The least recently used voice is dropped and comes back from disk."""
    store = VoiceStore(tmp_path, cache_voices=2)
    for name in "abc":
        store.save(replace(VOICE, id=name), "demo")
    first, second = store.load("a"), store.load("b")
    assert store.load("a") is first
    store.load("c")
    assert store.load("a") is first and store.load("b") is not second


def test_replacing_never_shows_half_a_voice(store: VoiceStore) -> None:
    """Readers see the old or the new voice while one is being replaced."""
    done = threading.Event()
    failures: list[BaseException] = []

    def read() -> None:
        reader = VoiceStore(store.directory)
        while not done.is_set():
            try:
                assert reader.load("anna").styles["default"].gain_db in (-2.5, 1.0)
            except VoiceError as error:
                if "there is no voice" not in str(error):  # between the two renames
                    failures.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    for gain in [1.0, -2.5] * 10:
        styles = {"default": replace(STYLE, gain_db=gain)}
        store.save(replace(VOICE, styles=styles), "demo", replace=True)
    done.set()
    thread.join()
    assert failures == []


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """A pack small enough to write in a test."""
    config = ModelConfig("v2", T2SConfig(), AcousticConfig())
    parts = {part: {"x": np.zeros(1, np.float32)} for part in (Part.T2S, Part.ACOUSTIC)}
    return write_pack(tmp_path / "packs" / "demo", PackInfo("demo", (Language.ZH,)), config, parts)


def test_voice_of_another_pack_names_the_command(pack: Pack, store: VoiceStore) -> None:
    """The message can be pasted: id, transcript, language and pack are in it."""
    with pytest.raises(VoiceError) as caught:
        check_pack(store.record("anna"), pack)
    command = shlex.split(str(caught.value).partition("again: sovits-live ")[2])
    assert command[:5] == ["voice", "add", "anna", "REFERENCE.wav", "--text"]
    assert command[5:] == [STYLE.transcript, "--lang", "zh", "--pack", "demo", "--replace"]


def test_engine_sees_good_voices_only(
    pack: Pack, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Voices of other packs and damaged ones are logged and answer with their reason."""
    store = VoiceStore(tmp_path / "voices")
    good = replace(VOICE, pack_fingerprint=pack.fingerprint)
    store.save(replace(good, styles={"default": STYLE, "sad": STYLE}), "demo")
    store.save(replace(VOICE, id="foreign"), "other")
    store.save(replace(good, id="broken"), "demo")
    (store.directory / "broken" / "voice.json").write_text("{")
    voices = PackVoices(pack, store.directory)
    assert [(info.id, info.styles) for info in voices.infos()] == [("anna", ("default", "sad"))]
    _same(voices.style("anna", "sad"), STYLE)
    assert len(caplog.records) == 2
    for name, message in (
        ("foreign", "enrol it again"),
        ("broken", "is damaged"),
        ("nobody", "there is no voice 'nobody'; there are: anna"),
    ):
        with pytest.raises(VoiceError, match=message) as caught:
            voices.style(name, "default")
        assert caught.value.code == "voice_not_found"
    with pytest.raises(VoiceError, match="no style 'happy'; it has: default, sad"):
        voices.style("anna", "happy")


def test_users_voice_hides_the_bundled_one(pack: Pack, tmp_path: Path) -> None:
    """Voices in the pack are found; one's own of the same name wins; reload sees changes."""
    bundled = replace(VOICE, pack_fingerprint=pack.fingerprint, description="bundled")
    VoiceStore(pack.path / "voices").save(bundled, "demo")
    store = VoiceStore(tmp_path / "voices")
    voices = PackVoices(pack, store.directory)
    assert voices.infos()[0].description == "bundled"
    store.save(replace(bundled, description="mine"), "demo")
    voices.reload()
    assert [info.description for info in voices.infos()] == ["mine"]
    store.remove("anna")
    voices.reload()
    assert [info.description for info in voices.infos()] == ["bundled"]


def test_voice_replaced_for_another_pack_is_refused(pack: Pack, tmp_path: Path) -> None:
    """Between two reloads a voice may change on disk; it is not spoken with wrong features."""
    store = VoiceStore(tmp_path / "voices")
    store.save(replace(VOICE, pack_fingerprint=pack.fingerprint), "demo")
    voices = PackVoices(pack, store.directory)
    store.save(VOICE, "other", replace=True)
    with pytest.raises(VoiceError, match="enrol it again"):
        voices.style("anna", "default")
