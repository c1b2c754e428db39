"""Full-size packs with random weights: speed does not depend on what a network has learned.

The end-of-sentence row of the T2S is zero, so sentences end only at their limit and every run makes
the same number of tokens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.errors import InvalidParameter
from engine.model_config import AcousticConfig, HifiGanConfig, ModelConfig, T2SConfig
from engine.pack import RANDOM_NOTICE, Pack, PackInfo, Part, load_pack, write_pack
from engine.types import Language, Style, Voice
from engine.voices import VoiceStore

_PRO = {"gin_dim": 1024, "speaker_dim": 20480}
ACOUSTIC: dict[str, AcousticConfig] = {
    "v1": AcousticConfig(symbol_set="v1", num_phonemes=322, style_bins=1025),
    "v2": AcousticConfig(),
    "v2Pro": AcousticConfig(**_PRO),  # type: ignore[arg-type]
    "v2ProPlus": AcousticConfig(
        decoder=HifiGanConfig(initial_channels=768, upsample_kernels=(20, 16, 8, 2, 2)),
        **_PRO,  # type: ignore[arg-type]
    ),
}
VOICE = "random"
PROMPT_PHONEMES, PROMPT_TOKENS = 50, 90  # of a 3 s reference and its 0.6 s of zeros


def random_pack(family: str, folder: Path, *, seed: int = 1) -> Pack:
    """Return the exported pack in `folder/FAMILY`, made if it is not there yet (minutes).

    Raises:
        InvalidParameter: Unknown family.
        BackendUnavailable: torch is missing.
    """
    if family not in ACOUSTIC:
        raise InvalidParameter("family", family, ", ".join(ACOUSTIC))
    path = folder / family
    if not (path / "onnx" / "manifest.json").is_file():
        _make(family, path, seed)
    return load_pack(path)


def _make(family: str, path: Path, seed: int) -> None:
    import torch  # only here: a pack that exists is measured without torch

    from engine.models.acoustic import init_random
    from engine.models.t2s import T2S
    from export.export_pack import export_pack

    acoustic = ACOUSTIC[family]
    t2s = T2SConfig(num_phonemes=512 if acoustic.symbol_set == "v1" else 732)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = T2S(t2s)
        torch.nn.init.zeros_(network.head.weight[t2s.eos])
        torch.nn.init.normal_(network.head.weight[: t2s.eos], std=0.1)
    config = ModelConfig(family=family, t2s=t2s, acoustic=acoustic)
    weights = {
        Part.T2S: _arrays(network.state_dict()),
        Part.ACOUSTIC: _arrays(init_random(acoustic, seed).state_dict()),
    }
    info = PackInfo(f"random-{family}", (Language.ZH, Language.EN), notice=RANDOM_NOTICE)
    pack = write_pack(path, info, config, weights)
    _add_voice(pack, seed)
    export_pack(pack)


def _arrays(state: dict[str, object]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in state.items()}


def _add_voice(pack: Pack, seed: int) -> None:
    rng = np.random.default_rng(seed)
    style = Style(
        prompt_phoneme_ids=rng.integers(1, 300, PROMPT_PHONEMES),
        prompt_tokens=rng.integers(0, 1024, PROMPT_TOKENS),
        vector=rng.normal(size=pack.config.acoustic.gin_dim).astype(np.float32),
        language=Language.ZH,
        transcript="",
    )
    voice = Voice(VOICE, pack.fingerprint, {"default": style}, description="random numbers")
    VoiceStore(pack.path / "voices").save(voice, pack.name, replace=True)
