"""One configuration from defaults, file, environment and --set."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from engine.errors import CheckpointError
from server import config
from server.errors import ConfigError


def load(tmp_path: Path, toml: str = "", *sets: str, **env: str) -> config.Config:
    """Load from a TOML text, `--set`s and variables."""
    path = tmp_path / "c.toml"
    path.write_text(toml, encoding="utf-8")
    return config.load(path, settings=sets, environment=env)


def test_later_sources_win(tmp_path: Path) -> None:
    """Defaults < file < environment < --set, field by field."""
    loaded = load(
        tmp_path,
        "[server]\nport = 1\nhost = 'localhost'\n"
        "[audio]\nlead_ms = 800\n[audio.format]\nrate = 48000",
        "server.port=3",
        SOVITS_SERVER_PORT="2",
        SOVITS_AUDIO_LEAD_MS="400",
        SOVITS_FIXTURES="elsewhere",
    )
    assert (loaded.server.port, loaded.server.host, loaded.audio.lead_ms) == (3, "localhost", 400)
    assert loaded.audio.format.rate == 48000
    assert loaded.server.limits.max_contexts == 8


def test_values_take_the_type_of_their_field(tmp_path: Path) -> None:
    """Text stays text, lists are TOML, bare words are names."""
    loaded = load(
        tmp_path,
        "",
        "engine.pack=2024",
        'server.origins=["https://a.example"]',
        "log.level=debug",
        "engine.process=false",
    )
    assert loaded.engine.pack == "2024"
    assert loaded.server.origins == ("https://a.example",)
    assert (loaded.log.level, loaded.engine.process) == ("debug", False)


def test_a_profile_is_a_set_of_audio_settings(tmp_path: Path) -> None:
    """What else is configured wins over it."""
    audio = load(tmp_path, "", "audio.profile=callbot", "audio.lead_ms=300").audio
    assert (audio.format.codec, audio.format.rate, audio.lead_ms) == ("mulaw", 8000, 300)


@pytest.mark.parametrize(
    ("toml", "sets", "env", "message"),
    [
        ("[server]\nprot = 1", [], {}, "server.prot is 1, valid: one of host, port"),
        ("x = 1", [], {}, "x is 1, valid: one of server, engine, audio, text, log"),
        ("[server", [], {}, "is not TOML"),
        (
            "",
            ["server.prot=1"],
            {},
            "--set server.prot: unknown key server.prot, nearest: server.port, ",
        ),
        ("", ["server.port"], {}, "--set server.port has no value"),
        ("", ["server.port=abc"], {}, "server.port is 'abc', valid: an integer from 0 to 65535"),
        (
            "",
            [],
            {"SOVITS_SERVER_PROT": "1"},
            "unknown variable SOVITS_SERVER_PROT, nearest: SOVITS_SERVER_PORT, ",
        ),
        ("", ["audio.format.rate=32000"], {}, "audio: format.rate is 32000 for opus"),
        ("", ["server.host=0.0.0.0"], {}, "server.keys_file is not set"),
        ("", ["server.host=example.org"], {}, "others can reach"),
        ("", ["server.tls_cert=a.pem"], {}, "go together"),
    ],
)
def test_names_what_is_wrong(
    tmp_path: Path, toml: str, sets: list[str], env: dict[str, str], message: str
) -> None:
    """Every error names source, key and what is valid."""
    with pytest.raises(ConfigError, match=message.replace("[", r"\[")):
        load(tmp_path, toml, *sets, **env)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("speed", ", nearest: audio.speed"),
        ("engine.max_contexts", ", nearest: server.limits.max_contexts, "),
        ("nothing.like_it", ""),
    ],
)
def test_an_unknown_key_is_told_its_neighbours_then_all_keys(name: str, nearest: str) -> None:
    """Those first, the rest in short lines by section, none left out."""
    with pytest.raises(ConfigError) as raised:
        config.load(settings=[f"{name}=2"], environment={})
    first, _, rest = str(raised.value).partition("\n")
    start = f"--set {name}: unknown key {name}{nearest}"
    assert first.startswith(start) and (nearest or first == start)
    assert max(map(len, rest.splitlines())) <= 96
    sections = re.split(r"\n  (?! )", rest)[1:]
    listed = []
    for section, names in (re.sub(r"\s+", " ", one).split(": ") for one in sections):
        listed += [f"{section}.{key}" for key in names.split(", ")]
    assert sorted(listed) == sorted(config.keys())


def test_reads_the_file_named_by_the_environment(tmp_path: Path) -> None:
    """SOVITS_CONFIG stands in for --config; a missing file is an error."""
    path = tmp_path / "c.toml"
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        config.load(environment={"SOVITS_CONFIG": str(path)})
    path.write_text("[server]\nport = 7\n")
    assert config.load(environment={"SOVITS_CONFIG": str(path)}).server.port == 7


def test_a_public_address_needs_a_key(tmp_path: Path) -> None:
    """With a keys file any address is allowed."""
    loaded = load(tmp_path, "", "server.host=0.0.0.0", "server.keys_file=keys")
    assert loaded.server.host == "0.0.0.0"
    assert config.is_loopback("::1")


def test_finds_the_pack(tmp_path: Path) -> None:
    """By name under packs_dir; otherwise the error lists those there are."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pack.json").write_text("{}")
    section = config.EngineSection(packs_dir=str(tmp_path), pack="two", voices_dir="v")
    engine = config.engine_config(section)
    assert (engine.pack, engine.voices_dir) == (tmp_path / "two", Path("v"))
    with pytest.raises(CheckpointError, match="one, two"):
        config.engine_config(config.EngineSection(packs_dir=str(tmp_path)))


def test_engine_config_carries_the_section(tmp_path: Path) -> None:
    """What the engine starts with is what was configured."""
    loaded = load(tmp_path, "", "engine.backend=fake", "engine.slots=3", "engine.threads=2")
    engine = config.engine_config(loaded.engine)
    assert (engine.backend, engine.pack, engine.num_slots, engine.acoustic_threads) == (
        "fake",
        None,
        3,
        2,
    )


def test_dump_is_plain_and_complete(tmp_path: Path) -> None:
    """The dump at start shows every section."""
    dumped = config.dump(load(tmp_path))
    assert set(dumped) >= {"server", "engine", "audio", "text", "log", "dialects"}
    assert dumped["server"]["limits"]["max_contexts"] == 8
