"""A model's training recipe: one TOML file with network sizes and the settings of each stage."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import CheckpointError
from engine.model_config import AcousticConfig, T2SConfig, parse_config
from engine.train.acoustic import AcousticSettings
from engine.train.distil import DistilSettings
from engine.train.joint import JointSettings
from engine.train.loop import LoopSettings
from engine.train.phoneme_probe import ProbeSettings
from engine.train.self_listening import SelfListeningSettings
from engine.train.ssl_tokens import TokenSettings
from engine.train.t2s import T2SSettings
from engine.train.token_probe import TokenProbeSettings

_T = TypeVar("_T")
_OTHERS = ("loop", "acoustic")  # tables inside a stage's table
CONFIGS = Path(__file__).parent / "configs"


@dataclass(frozen=True, slots=True)
class Recipe:
    """See the module docstring."""

    acoustic: AcousticConfig
    t2s: T2SConfig
    tokens: TokenSettings
    tokens_loop: LoopSettings
    acoustic_stages: tuple[tuple[AcousticSettings, LoopSettings], ...]
    distil: DistilSettings
    distil_loop: LoopSettings
    t2s_settings: T2SSettings
    t2s_loop: LoopSettings
    token_probe: TokenProbeSettings
    token_probe_loop: LoopSettings
    listen: SelfListeningSettings
    listen_loop: LoopSettings
    probe: ProbeSettings
    probe_loop: LoopSettings
    joint: JointSettings
    joint_loop: LoopSettings
    joint_stages: tuple[tuple[AcousticSettings, LoopSettings], ...]  # behind it, on the same tokens


def load_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        CheckpointError: Not TOML, or with an unknown or missing name.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error})") from None
    try:
        network = data["network"]
        return Recipe(
            acoustic=parse_config(AcousticConfig, network["acoustic"], f"{path}: network.acoustic"),
            t2s=parse_config(T2SConfig, network["t2s"], f"{path}: network.t2s"),
            tokens=_settings(TokenSettings, data["tokens"], "tokens"),
            tokens_loop=_settings(LoopSettings, data["tokens"]["loop"], "tokens.loop"),
            acoustic_stages=_stages(data["acoustic"], "acoustic"),
            distil=_settings(DistilSettings, data["distil"], "distil"),
            distil_loop=_settings(LoopSettings, data["distil"]["loop"], "distil.loop"),
            t2s_settings=_settings(T2SSettings, data["t2s"], "t2s"),
            t2s_loop=_settings(LoopSettings, data["t2s"]["loop"], "t2s.loop"),
            token_probe=_settings(TokenProbeSettings, data["token_probe"], "token_probe"),
            token_probe_loop=_settings(
                LoopSettings, data["token_probe"]["loop"], "token_probe.loop"
            ),
            listen=_settings(SelfListeningSettings, data["listen"], "listen"),
            listen_loop=_settings(LoopSettings, data["listen"]["loop"], "listen.loop"),
            probe=_settings(ProbeSettings, data["probe"], "probe"),
            probe_loop=_settings(LoopSettings, data["probe"]["loop"], "probe.loop"),
            joint=_settings(JointSettings, data["joint"], "joint"),
            joint_loop=_settings(LoopSettings, data["joint"]["loop"], "joint.loop"),
            joint_stages=_stages(data["joint"].get("acoustic", []), "joint.acoustic"),
        )
    except KeyError as error:
        raise CheckpointError(f"{path}: section {error} is missing") from None


def _stages(
    tables: Sequence[Mapping[str, Any]], name: str
) -> tuple[tuple[AcousticSettings, LoopSettings], ...]:
    return tuple(
        (
            _settings(AcousticSettings, table, name),
            _settings(LoopSettings, table["loop"], f"{name}.loop"),
        )
        for table in tables
    )


def _settings(cls: type[_T], data: Mapping[str, Any], name: str) -> _T:
    """Build a settings dataclass from a TOML table; tables in it belong to others."""
    known = {field.name for field in fields(cls)}  # type: ignore[arg-type]
    given = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in data.items()
        if key not in _OTHERS
    }
    if unknown := sorted(set(given) - known):
        raise CheckpointError(
            f"{name}: unknown {', '.join(unknown)}; known: {', '.join(sorted(known))}"
        )
    return cls(**given)
