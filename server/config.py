"""The server's configuration: one frozen tree, from defaults, a TOML file, environment, `--set`.

Later sources win. Environment variables are the dotted key in capitals with underscores behind
`SOVITS_` (`SOVITS_SERVER_PORT`). An unknown key, or a value of the wrong type or out of range, is
an error that names it and what is valid. Nothing else in the server reads the environment.
"""

from __future__ import annotations

import ipaddress
import os
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from engine.backends.fake import FakeScript
from engine.config import EngineConfig
from engine.paths import Paths, resolve_paths
from server.dialects.settings import DialectsSection
from server.errors import ClientError, ConfigError
from server.settings import PROFILES, Settings, check_format
from server.wire import (
    Length,
    Patch,
    Range,
    WireError,
    construct,
    decode_patch,
    encode,
    field_types,
    merged,
)

ENV_PREFIX = "SOVITS_"
CONFIG_ENV = "SOVITS_CONFIG"  # path of the TOML file, where `--config` is not given
_MOST_NEAR = 3  # names that are told for one that is unknown
_TEXT_WIDTH = 96

Positive = Annotated[int, Range(1, 1_000_000)]
Seconds = Annotated[float, Range(0.001, 86_400)]


@dataclass(frozen=True, slots=True)
class LimitsSection:
    """What clients may use."""

    max_connections: Positive = 1000
    connections_per_ip: Positive = 200
    connections_per_key: Positive = 500
    max_contexts: Annotated[int, Range(1, 256)] = 8  # per session
    max_active_contexts: Positive = 64  # of all sessions: these use the engine
    # Refuse listeners also beyond what the engine was measured to feed in real time.
    measured_capacity: bool = True
    max_text_bytes: Annotated[int, Range(256, 1_048_576)] = 65536  # per message
    # Per context, received and not yet spoken; as many flushes may wait.
    max_buffer_chars: Positive = 8000
    max_session_chars: Positive = 200_000
    msgs_per_s: Positive = 200
    lead_ms_max: Annotated[int, Range(100, 60_000)] = 60_000
    first_message_s: Seconds = 10.0  # of a native session; a ping will do
    idle_timeout_s: Seconds = 60.0
    request_timeout_s: Seconds = 15.0  # for a request's headers, and between two requests
    session_ttl_s: Seconds = 3600.0
    write_stall_s: Seconds = 10.0
    synthesis_timeout_s: Seconds = 30.0  # without one sample of the sentence that is due


@dataclass(frozen=True, slots=True)
class ServerSection:
    """Where the server listens and whom it serves."""

    host: Annotated[str, Length(1, 255)] = "127.0.0.1"
    port: Annotated[int, Range(0, 65535)] = 8080  # 0: any free one
    keys_file: str | None = None  # lines of "name sha256-of-key"; none: no key is asked for
    admin_keys_file: str | None = None  # keys that may also add and remove voices
    metrics_need_key: bool = False  # /metrics tells who has keys and how much they spoke
    # 64 hex digits, made by sovits-live watermark new-key; none: what is spoken carries no mark
    watermark_key_file: str | None = None
    origins: tuple[str, ...] = ()  # beside the server's own; "null" admits OBS and file pages
    tls_cert: str | None = None
    tls_key: str | None = None
    drain_s: Seconds = 30.0  # how long open contexts may finish after SIGTERM
    encoder_threads: Annotated[int, Range(0, 64)] = 2  # for Opus; 0: encode on the event loop
    opus_complexity: Annotated[int, Range(0, 10)] = 5  # 0: a tenth of the work, a little worse
    limits: LimitsSection = field(default_factory=LimitsSection)


@dataclass(frozen=True, slots=True)
class EngineSection:
    """Which model runs, and how."""

    backend: Annotated[str, Length(1, 64)] = "onnxruntime"
    pack: str = ""  # name under packs_dir, or a folder; "": the only one there is, or nano
    packs_dir: str | None = None
    voices_dir: str | None = None
    precision: Literal["fp32", "int8", "auto"] = "fp32"  # of the T2S stage, where the pack has both
    process: bool = True  # in a process of its own; false: in threads of this one
    slots: Annotated[int, Range(1, 256)] = 8
    threads: Annotated[int, Range(1, 256)] = 2  # of the acoustic stage
    prefill_threads: Annotated[int, Range(1, 256)] = 2
    semantic_threads: Annotated[int, Range(1, 256)] = 1
    max_positions: Annotated[int, Range(64, 4000)] = 1024
    first_audio_s: Seconds = 0.25
    fake_step_ms: Annotated[int, Range(0, 1000)] = 0  # what a step of the backend `fake` takes


@dataclass(frozen=True, slots=True)
class TextSection:
    """How text becomes phonemes."""

    workers: Annotated[int, Range(1, 64)] = 1
    lexicon: str | None = None  # the user's pronunciations
    g2pw_dir: str | None = None  # the g2pW model's folder, for Chinese polyphones
    digits: Literal["auto", "read", "cardinal"] = "auto"


@dataclass(frozen=True, slots=True)
class LogSection:
    """What is logged. Texts never are."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["human", "json"] = "human"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything; `audio` is what sessions start from."""

    server: ServerSection = field(default_factory=ServerSection)
    engine: EngineSection = field(default_factory=EngineSection)
    audio: Settings = field(default_factory=Settings)
    text: TextSection = field(default_factory=TextSection)
    log: LogSection = field(default_factory=LogSection)
    dialects: DialectsSection = field(default_factory=DialectsSection)

    def __post_init__(self) -> None:
        try:
            check_format(self.audio.format)
        except ClientError as error:
            raise ConfigError(f"audio: {error.message}") from None
        if bool(self.server.tls_cert) != bool(self.server.tls_key):
            raise ConfigError("server.tls_cert and server.tls_key go together, one is missing")
        if not is_loopback(self.server.host) and self.server.keys_file is None:
            raise ConfigError(
                f"server.host is {self.server.host!r}, which others can reach, and "
                "server.keys_file is not set: set it, or use 127.0.0.1"
            )


def is_loopback(host: str) -> bool:
    """Return True for an address only this machine can reach."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def load(
    path: Path | None = None,
    *,
    settings: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Config:
    """Read the configuration.

    Args:
        path: The TOML file; None: the one `SOVITS_CONFIG` names, or none.
        settings: `a.b=value`, as given to `--set`.
        environment: For tests; None: the process's.

    Raises:
        ConfigError: If a source cannot be read or says something invalid.
    """
    env = os.environ if environment is None else environment
    if path is None and CONFIG_ENV in env:
        path = Path(env[CONFIG_ENV])
    patch = _from_file(path) if path is not None else {}
    patch = merged(patch, _from_environment(env))
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting} has no value, valid: --set section.key=value")
        patch = merged(patch, _single(key.strip(), value.strip(), f"--set {key}"))
    audio = patch.get("audio", {})
    if audio.get("profile"):
        patch = {**patch, "audio": merged(PROFILES[audio["profile"]], audio)}
    return construct(Config, patch)


def paths(section: EngineSection) -> Paths:
    """Return the folders of packs and voices."""
    return resolve_paths(
        Path(section.packs_dir) if section.packs_dir else None,
        Path(section.voices_dir) if section.voices_dir else None,
    )


def engine_config(section: EngineSection) -> EngineConfig:
    """Return what the engine is started with.

    Raises:
        CheckpointError: If there is no such pack; names those there are.
    """
    folders = paths(section)
    is_fake = section.backend == "fake"
    return EngineConfig(
        backend=section.backend,
        pack=None if is_fake else folders.chosen_pack(section.pack or None),
        voices_dir=folders.voices_dir,
        precision=section.precision,
        num_slots=section.slots,
        max_positions=section.max_positions,
        semantic_threads=section.semantic_threads,
        acoustic_threads=section.threads,
        prefill_threads=section.prefill_threads,
        first_audio_s=section.first_audio_s,
        fake=_fake_script(section) if is_fake else None,
    )


def _fake_script(section: EngineSection) -> FakeScript:
    return FakeScript(num_slots=section.slots, step_s=section.fake_step_ms / 1000)


def dump(config: Config) -> dict[str, Any]:
    """Return the configuration as plain values; it holds paths of secrets, never secrets."""
    return dict(encode(config))


def keys(cls: type = Config, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key."""
    for f in fields(cls):
        annotation = field_types(cls)[f.name]
        name = f"{prefix}{f.name}"
        if is_dataclass(annotation):
            yield from keys(annotation, f"{name}.")  # type: ignore[arg-type]
        else:
            yield name


def _from_file(path: Path) -> Patch:
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {path}: {error.strerror}") from None
    except ValueError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None
    return _checked(data, str(path))


def _from_environment(env: Mapping[str, str]) -> Patch:
    names = {ENV_PREFIX + key.upper().replace(".", "_"): key for key in keys()}
    sections = tuple(f"{ENV_PREFIX}{f.name.upper()}_" for f in fields(Config))
    patch: Patch = {}
    for name, value in sorted(env.items()):
        if name in names:
            patch = merged(patch, _single(names[name], value, name))
        elif name.startswith(sections):
            raise ConfigError(_unknown("variable", name, names))
    return patch


def _single(key: str, value: str, source: str) -> Patch:
    """Return the patch of one key; the value is TOML, or text where the field is text."""
    if key not in set(keys()):
        raise ConfigError(f"{source}: {_unknown('key', key, keys())}")
    parsed: object = value
    if not _takes_text(key):
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except ValueError:
            pass  # a bare word, such as a name of Literal
    for part in reversed(key.split(".")):
        parsed = {part: parsed}
    return _checked(parsed, source)


def _unknown(noun: str, name: str, valid: Iterable[str]) -> str:
    """Return what to say of a name that is none: those that are near, then all keys, in short."""
    names = list(valid)
    # The right name under the wrong section, or under none, is meant more often than another name.
    same = [known for known in names if known.rpartition(".")[2] == name.rpartition(".")[2]]
    near = list(dict.fromkeys([*same, *get_close_matches(name, names)]))[:_MOST_NEAR]
    meant = f", nearest: {', '.join(near)}" if near else ""
    return f"unknown {noun} {name}{meant}\n{_all_keys()}"


def _all_keys() -> str:
    """Return every key in a paragraph a section."""
    sections: dict[str, list[str]] = {}
    for key in keys():
        section, _, name = key.rpartition(".")
        sections.setdefault(section, []).append(name)
    paragraphs = [
        textwrap.fill(
            f"{section}: {', '.join(names)}",
            width=_TEXT_WIDTH,
            initial_indent="  ",
            subsequent_indent="    ",
        )
        for section, names in sections.items()
    ]
    return "\n".join(
        [
            f"valid, as section.key, or {ENV_PREFIX}SECTION_KEY in the environment:",
            *paragraphs,
        ]
    )


def _takes_text(key: str) -> bool:
    annotation: Any = Config
    for part in key.split("."):
        annotation = field_types(annotation)[part]
    return annotation in (str, str | None) or getattr(annotation, "__origin__", None) is str


def _checked(data: object, source: str) -> Patch:
    try:
        return decode_patch(Config, data, strict=True)
    except WireError as error:
        raise ConfigError(f"{source}: {error}") from None
