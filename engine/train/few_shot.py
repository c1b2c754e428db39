"""One voice from 1 to 5 minutes of recordings: fine-tunes a pack and enrols the voice in it.

    recordings -> utterances -> features -> acoustic model -> T2S -> pack -> voice -> report

Every step leaves its result in the work folder, so the same command goes on where it was stopped.
Tokens (quantizer and SSL encoder) stay as they are: the T2S of the pack was trained on them.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from torch import Tensor

from engine.audio.io import Recording
from engine.audio.reference_checks import check_reference
from engine.backends.base import Backend
from engine.enroll import Enroller, Prompt
from engine.errors import CheckpointError, InvalidParameter, SovitsError, VoiceError
from engine.pack import Pack, Part
from engine.text.frontend import Frontend
from engine.train import stages
from engine.train.acoustic import AcousticSettings, AcousticStage
from engine.train.assemble import retuned
from engine.train.curves import draw_curves
from engine.train.early_stop import EarlyStop, Outcome, best_weights, train_watched
from engine.train.loop import LoopSettings, under
from engine.train.store import Entry, FeatureStore
from engine.train.t2s import T2SSettings, T2SStage
from engine.types import FloatArray, Language, Voice
from engine.voice_files import DEFAULT_STYLE

logger = logging.getLogger(__name__)
SETTINGS = "voice.json"
_TIMBRE_RECORDINGS = 8
_PROMPT_S = (3.0, 9.5)


@dataclass(frozen=True, slots=True)
class FewShot:
    """How to fine-tune.

    Attributes:
        acoustic_steps, t2s_steps: At most; the held-out loss may end a stage earlier. 0: none.
        language: Of recordings without a list; None is found out for each.
    """

    name: str
    acoustic_steps: int = 150
    t2s_steps: int = 100
    batch_size: int = 4
    denoise: bool = False
    language: Language | None = None

    def __post_init__(self) -> None:
        for field in ("acoustic_steps", "t2s_steps"):
            if getattr(self, field) < 0:
                raise InvalidParameter(field, getattr(self, field), "0 or more")


Progress = Callable[[str, int, int], None]  # what, steps done, steps in all


def remember(work: Path, plan: FewShot, base: Pack) -> None:
    """Note what a work folder is for, or check that it is for the same.

    Raises:
        CheckpointError: It was begun with another pack or other settings.
    """
    path = work / SETTINGS
    now = {"pack": base.fingerprint, **json.loads(json.dumps(asdict(plan)))}
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    if wrong := sorted(key for key in now if before.get(key) != now[key]):
        was = ", ".join(f"{key} {before.get(key)!r}" for key in wrong)
        raise CheckpointError(
            f"{work} was begun with {was:.200}; give another --work, or delete it to begin anew"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Tuned:
    """Weights of both stages, and how their held-out losses went."""

    acoustic: Mapping[str, Tensor]
    t2s: Mapping[str, Tensor]
    outcomes: Mapping[str, Outcome | None]


def tune(work: Path, base: Pack, plan: FewShot, progress: Progress) -> Tuned:
    """Fine-tune both stages on the features of `work`."""
    acoustic_weights = stages.pack_tensors(base, Part.ACOUSTIC)
    t2s_weights = stages.pack_tensors(base, Part.T2S)
    config = base.config.acoustic
    quantizer = stages.load_quantizer(config, under(acoustic_weights, "quantizer."))
    count = len(FeatureStore(work / "features"))
    data = stages.load_data(work, quantizer, held_out=stages.few_held_out(count))
    outcomes: dict[str, Outcome | None] = {}
    if plan.acoustic_steps:
        settings = acoustic_settings(plan)
        loop = gentle(plan.acoustic_steps)
        stage = AcousticStage(config, settings, loop, data.train, acoustic_weights)
        check = None
        if data.check is not None:
            check = AcousticStage(config, settings, loop, data.check, acoustic_weights)
        folder = work / "acoustic"
        outcomes["acoustic"] = _watched(folder, stage, check, loop, plan, progress)
        acoustic_weights = best_weights(folder)
    # A pack that takes the timbre only says every text in its own manner: nothing to learn here.
    if plan.t2s_steps and base.info.prompts:
        t2s_settings = T2SSettings(batch_size=plan.batch_size, guide_layers=())
        loop = gentle(plan.t2s_steps)
        t2s = base.config.t2s
        learner = T2SStage(t2s, t2s_settings, loop, data.train, data.places, t2s_weights)
        # Without its random wrong tokens: how well it continues what is there.
        exact = replace(t2s_settings, replaced=0.0)
        judge = None
        if data.check is not None:
            judge = T2SStage(t2s, exact, loop, data.check, {}, t2s_weights)
        folder = work / "t2s"
        outcomes["t2s"] = _watched(folder, learner, judge, loop, plan, progress)
        t2s_weights = best_weights(folder)
    return Tuned(acoustic_weights, t2s_weights, outcomes)


def _watched(
    folder: Path,
    stage: AcousticStage | T2SStage,
    check: AcousticStage | T2SStage | None,
    loop: LoopSettings,
    plan: FewShot,
    progress: Progress,
) -> Outcome | None:
    run = stages.begin_run(folder, stage, loop, {"settings": asdict(stage.settings)})
    name = folder.name
    progress(name, run.step, loop.steps)
    outcome = train_watched(
        run, check, EarlyStop(), on_step=lambda step: progress(name, step, loop.steps)
    )
    progress(name, loop.steps, loop.steps)
    draw_curves(folder)
    return outcome


def acoustic_settings(plan: FewShot) -> AcousticSettings:
    """Return how the acoustic model is tuned: from tokens to sound, as it is served.

    The posterior encoder, which packs do not hold, has no part in it.
    """
    return AcousticSettings(
        batch_size=plan.batch_size,
        max_frames=200,
        slice_frames=100,
        unit_weight=0.0,
        prior_share=1.0,
        frozen=("posterior",),
    )


def gentle(steps: int) -> LoopSettings:
    """Return a low rate: what the pack has learned of everybody must not be lost on one voice."""
    return LoopSettings(
        steps=steps,
        learning_rate=5e-5,
        final_rate=1e-5,
        warmup_steps=10,
        ema=0.9,
        log_every=5,
        save_minutes=1.0,
    )


def tuned_pack(base: Pack, path: Path, tuned: Tuned) -> Pack:
    """Write the fine-tuned pack, every tensor in the form the base keeps it."""
    return retuned(base, path, {Part.ACOUSTIC: tuned.acoustic, Part.T2S: tuned.t2s})


def enrol(backend: Backend, pack: Pack, store: FeatureStore, name: str, consent: str) -> Voice:
    """Make the voice: its manner from the best utterance, its timbre from several.

    Raises:
        VoiceError: No utterance is fit to be a reference; says what is wrong with the last.
    """
    enroller = Enroller.of_pack(backend.reference, Frontend(pack.symbol_set), pack)
    ranked = _ranked(store, pack.sample_rate_hz)
    if not ranked:
        low, high = _PROMPT_S
        raise VoiceError(
            f"no utterance of {low:g} to {high:g} s is clean enough to be a reference; add one and "
            "give the same command again",
            code="bad_reference",
        )
    timbre = [recording for _, recording in ranked[:_TIMBRE_RECORDINGS]]
    failure: SovitsError | None = None
    for entry, recording in ranked:
        try:
            prompt = Prompt(recording, entry.text, Language(entry.language))
            style = enroller.enroll(prompt, timbre).style
            return Voice(name, pack.fingerprint, {DEFAULT_STYLE: style}, consent=consent)
        except SovitsError as error:
            failure = error
    assert failure is not None
    raise failure


def recorded(store: FeatureStore, entry: Entry) -> FloatArray:
    """Return the samples of an utterance, float32 [N] in [-1, 1]."""
    return store.load(entry.id).wave.astype(np.float32) / np.float32(32767)


def _ranked(store: FeatureStore, rate_hz: int) -> list[tuple[Entry, Recording]]:
    """Return utterances that can be references, those farthest above their noise first."""
    found = []
    low, high = _PROMPT_S
    for entry in store:
        if not low <= entry.seconds <= high:
            continue
        samples = recorded(store, entry)
        report = check_reference(samples, rate_hz)
        if report.fatal is None:
            found.append((report.snr_db, entry, Recording(samples, rate_hz, entry.id)))
    found.sort(key=lambda row: (-row[0], row[1].id))
    return [(entry, recording) for _, entry, recording in found]
