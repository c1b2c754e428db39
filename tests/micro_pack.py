"""A pack so small that its exported graphs are kept in the repository, beside the tests.

Exporting takes a minute; running what was exported takes milliseconds. So the fast tests run the
graphs of `tests/data/micro_graphs` on weights that follow from their names alone, and
`pytest -m export` checks that the exporter still makes the same graphs. After a change of a network
or of the exporter, make them again: python -m tests.micro_pack
"""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import numpy as np

from engine.model_config import (
    AcousticConfig,
    HifiGanConfig,
    ModelConfig,
    SpeakerConfig,
    SslConfig,
    T2SConfig,
)
from engine.pack import Pack, PackInfo, Part, write_pack
from engine.types import Array, Language, Style, Voice
from engine.voices import VoiceStore

GRAPHS = Path(__file__).parent / "data" / "micro_graphs"
_SSL = {"mel_bins": 80, "dim": 32, "num_heads": 2, "num_layers": 1, "max_frames": 200}
_SPEAKER = {"mel_bins": 40, "hidden_dim": 16, "num_layers": 1}
CONFIG = ModelConfig(
    family="nano",
    t2s=T2SConfig(
        num_layers=2,
        hidden_dim=64,
        num_heads=4,
        ffn_dim=128,
        vocab_size=65,
        bert_dim=16,
        max_positions=512,
    ),
    acoustic=AcousticConfig(
        sample_rate_hz=24000,
        n_fft=960,
        hop=480,
        ssl_dim=32,
        codebook_size=64,
        codebook_dim=16,
        latent_dim=8,
        hidden_dim=16,
        filter_dim=24,
        ssl_layers=1,
        text_layers=1,
        fusion_layers=1,
        mrte_dim=16,
        mrte_heads=2,
        gin_dim=16,
        style_bins=64,
        style_hidden=16,
        speaker_dim=16,
        flow_couplings=2,
        flow_layers=2,
        decoder=HifiGanConfig(
            initial_channels=16,
            upsample_rates=(20, 24),
            upsample_kernels=(40, 48),
            resblock_kernels=(3,),
            resblock_dilations=((1, 3, 5),),
        ),
    ),
    ssl=SslConfig("whisper", 32, 0, _SSL),
    speaker=SpeakerConfig("ge2e", 16, _SPEAKER),
)


def micro_pack(folder: Path) -> Pack:
    """Write the pack with its graphs and one voice, `anna`."""
    pack = bare_pack(folder)
    shutil.copytree(GRAPHS, pack.path / "onnx")
    path = pack.path / "onnx" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["pack_fingerprint"] = pack.fingerprint
    path.write_text(json.dumps(manifest), encoding="utf-8")
    VoiceStore(pack.path / "voices").save(_voice(pack), pack.name)
    return pack


def bare_pack(folder: Path) -> Pack:
    """Write the pack without graphs."""
    info = PackInfo("micro", (Language.EN, Language.ZH), notice="random weights, no speech")
    return write_pack(folder / "micro", info, CONFIG, _weights())


def _weights() -> dict[Part, dict[str, Array]]:
    from engine.models.acoustic import AcousticNetwork
    from engine.models.ge2e import Ge2e
    from engine.models.t2s import T2S
    from engine.models.whisper import WhisperEncoder

    networks = {
        Part.T2S: T2S(CONFIG.t2s),
        Part.ACOUSTIC: AcousticNetwork(CONFIG.acoustic),
        Part.SSL: WhisperEncoder(_SSL),
        Part.SPEAKER: Ge2e(_SPEAKER, 16),
    }
    return {
        part: {name: _values(name, tuple(t.shape)) for name, t in network.state_dict().items()}
        for part, network in networks.items()
    }


def _values(name: str, shape: tuple[int, ...]) -> Array:
    """Return numbers that depend on the name only, of the size that keeps a network's scale."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    values = generator.standard_normal(shape)
    if name.endswith("cluster_size") or name.endswith("initialized"):
        values = np.ones(shape)
    elif "norm" in name.rpartition(".")[0].rpartition(".")[2] and name.endswith("weight"):
        values = 1.0 + 0.1 * values
    elif len(shape) < 2:
        values = 0.1 * values
    elif "embedding" not in name and "codebook" not in name and not name.endswith("original0"):
        values /= np.sqrt(np.prod(shape[1:]))
    return values.astype(np.float16)


def _voice(pack: Pack) -> Voice:
    generator = np.random.default_rng(5)
    style = Style(
        prompt_phoneme_ids=generator.integers(1, 700, 9),
        prompt_tokens=generator.integers(0, CONFIG.acoustic.codebook_size, 12),
        vector=generator.standard_normal(CONFIG.acoustic.gin_dim).astype(np.float32),
        language=Language.EN,
        transcript="A short prompt.",
    )
    return Voice("anna", pack.fingerprint, {"default": style})


def _main() -> None:
    import tempfile

    from export.export_pack import export_pack

    with tempfile.TemporaryDirectory() as name:
        pack = bare_pack(Path(name))
        export_pack(pack, on_device=True)
        shutil.rmtree(GRAPHS, ignore_errors=True)
        shutil.copytree(pack.path / "onnx", GRAPHS)


if __name__ == "__main__":
    _main()
