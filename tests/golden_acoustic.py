"""Loads the tiny SoVITS checkpoints and golden arrays, and names every stage between them.

Inputs of a stage are golden arrays too, so a stage that fails is the guilty one.
"""

from __future__ import annotations

import functools
import gzip
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.checkpoint import FileKind, OfficialFile, read_official
from engine.models.acoustic import AcousticNetwork
from engine.models.decoder import NO_CONTEXT, drop_context
from engine.models.official_acoustic import config_from_official, weights_from_official
from engine.models.prior import TextMemory
from tests.numerics import END_TO_END, STAGE, stretched

VERSIONS = ("v2", "v2Pro", "v2ProPlus")
NOISE_SCALE = 0.5  # of every golden waveform


@dataclass(frozen=True, eq=False)
class Golden:
    """One version's network and arrays."""

    version: str
    network: AcousticNetwork
    arrays: Mapping[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.arrays[name]

    @property
    def speakers(self) -> list[Tensor] | None:
        """The speaker embeddings of both references, where the version has them."""
        return [self["sv1"], self["sv2"]] if "sv1" in self.arrays else None


def load(folder: Path, version: str) -> Golden:
    """Read a version's checkpoint and arrays; weight norm stays split."""
    file = read_sovits(folder, version)
    config = config_from_official(file.tensors, file.config)
    network = AcousticNetwork(config)
    weights = weights_from_official(file.tensors, config)
    network.load_state_dict({name: torch.from_numpy(w) for name, w in weights.items()})
    network.requires_grad_(False).eval()
    with (
        np.load(folder / f"sovits_{version}.npz") as arrays,
        np.load(folder / "reference.npz") as reference,
    ):
        tensors = {name: torch.from_numpy(a[name]) for a in (arrays, reference) for name in a.files}
    return Golden(version, network, tensors)


@functools.cache  # reading starts a process; networks copy the weights
def read_sovits(folder: Path, version: str) -> OfficialFile:
    """Return a version's tiny checkpoint, unpacked where it is gzipped."""
    (source,) = folder.glob(f"tiny_sovits_{version}_*.pth*")
    if source.suffix != ".gz":
        return read_official(source, FileKind.SOVITS)
    with tempfile.NamedTemporaryFile(suffix=".pth") as unpacked:
        unpacked.write(gzip.decompress(source.read_bytes()))
        unpacked.flush()
        return read_official(Path(unpacked.name), FileKind.SOVITS)


def _ge_text(g: Golden) -> Tensor:
    return g.network.prior.fusion.style_in(g["ge"].transpose(1, 2)).transpose(1, 2)


def _memory(g: Golden) -> TextMemory:
    return g.network.prior.fusion.memory(g["enc_text"], g["ge"])


def _token_in(g: Golden) -> Tensor:
    return g.network.prior.token_in(g["quantized"])


def _stats(g: Golden, features: str) -> tuple[Tensor, Tensor]:
    mean, log_std = g.network.prior.stats(g[features]).chunk(2, dim=1)
    return mean, log_std


def _flow_after(g: Golden, index: int) -> Tensor:
    couplings = list(reversed(g.network.flow.couplings))
    source = g["z_p"] if index == 0 else g[f"flow_after_{index - 1}"]
    return couplings[index].inverse(source.flip(1), g["ge"])  # type: ignore[operator, no-any-return]


def _margin(g: Golden) -> Tensor:
    book = g.network.quantizer.codebook
    distance = (g["ssl_proj"].transpose(1, 2)[0, :, None] - book[None]).norm(dim=2)
    nearest = distance.sort(dim=1).values
    return nearest[:, 1] - nearest[:, 0]


def _stretched_mean(g: Golden) -> Tensor:
    return torch.from_numpy(stretched(g["m_p"][0].numpy(), 1.25))


def _voice(g: Golden, mean: Tensor, log_std: Tensor, noise: Tensor) -> Tensor:
    latent = mean + noise * log_std.exp() * NOISE_SCALE
    return g.network.decode(g.network.flow_reverse(latent, g["ge"]), g["ge"])


def _speed_wave(g: Golden) -> Tensor:
    mean, log_std = (torch.from_numpy(stretched(g[n][0].numpy(), 1.25)) for n in ("m_p", "logs_p"))
    return _voice(g, mean[None], log_std[None], g["noise_speed"])[..., ::4]


def _stream_wave(g: Golden, chunk: int) -> Tensor:
    mean, log_std = _stats(g, f"stream_latent{chunk}")
    return _voice(g, mean, log_std, g[f"stream_noise{chunk}"])[..., ::4]


def _features(g: Golden, codes: Tensor) -> Tensor:
    features, _ = g.network.prior.frame_features(g.network.quantizer.lookup(codes), _memory(g))
    return features


def _stream_latent1(g: Golden) -> Tensor:
    return _features(g, g["codes"][0][:, : g["codes"].shape[2] // 2])


def _stream_latent2(g: Golden) -> Tensor:
    """Upstream's cross-fade of features; its windows do not sum to one, and we do not do this."""
    before, result = g["stream_latent1"], g["stream_latent2"]
    features = _features(g, g["codes"][0])[..., -result.shape[2] :].clone()
    rise = torch.sin(torch.arange(4) * torch.pi / 8)
    fall = torch.sin(torch.arange(4, 8) * torch.pi / 8)
    features[..., :4] = rise * features[..., :4] + fall * before[..., -4:]
    return features


def _whole(g: Golden) -> Tensor:
    style = g.network.style_vector([g["spec"]], g.speakers[:1] if g.speakers else None)
    output = g.network.prior_stats(g["codes"][0], g.network.encode_text(g["text"], style))
    return _voice(g, output.mean, output.log_std, g["noise"])


Stage = Callable[[Golden], Tensor]

# Every float array of a golden file that is not an input, and how we make it.
STAGES: dict[str, tuple[Stage, float]] = {
    "ssl_proj": (lambda g: g.network.quantizer.project(g["ssl"]), STAGE),
    "extract_margin": (_margin, END_TO_END),
    "ref_enc": (lambda g: g.network.style.spectrum(g["spec"]), STAGE),
    "ge": (lambda g: g.network.style_vector([g["spec"]], (g.speakers or [])[:1]), STAGE),
    "ge_two_refs": (
        lambda g: g.network.style_vector([g["spec"], g["spec2"]], g.speakers),
        STAGE,
    ),
    "ge_text": (_ge_text, STAGE),
    "quantized": (lambda g: g.network.quantizer.lookup(g["codes"][0]), STAGE),
    "enc_ssl_in": (_token_in, STAGE),
    "enc_ssl": (lambda g: g.network.prior.token_features(g["quantized"]), STAGE),
    "enc_text": (lambda g: g.network.prior.text_features(g["text"]), STAGE),
    "mrte": (lambda g: g.network.prior.fusion(g["enc_ssl"], _memory(g))[0], STAGE),
    "enc2": (lambda g: g.network.prior.frame_encoder(g["mrte"]), STAGE),
    "m_p": (lambda g: _stats(g, "enc2")[0], STAGE),
    "logs_p": (lambda g: _stats(g, "enc2")[1], STAGE),
    "z_p": (lambda g: g["m_p"] + g["noise"] * g["logs_p"].exp() * NOISE_SCALE, STAGE),
    "flow_after_0": (lambda g: _flow_after(g, 0), STAGE),
    "flow_after_1": (lambda g: _flow_after(g, 1), STAGE),
    "flow_after_2": (lambda g: _flow_after(g, 2), STAGE),
    "flow_after_3": (lambda g: _flow_after(g, 3), STAGE),
    "z": (lambda g: g.network.flow_reverse(g["z_p"], g["ge"]), STAGE),
    "dec_pre": (
        lambda g: g.network.decoder.input(g["z"]) + g.network.decoder.condition(g["ge"]),
        STAGE,
    ),
    "dec_up0": (
        lambda g: g.network.decoder.stages[0](g["dec_pre"], NO_CONTEXT, 0, drop_context)[0],
        STAGE,
    ),
    "wav": (lambda g: g.network.decode(g["z"], g["ge"]), STAGE),
    "speed_m_p": (_stretched_mean, STAGE),
    "speed_wav_every4": (_speed_wave, END_TO_END),
    "stream_latent1": (_stream_latent1, END_TO_END),
    "stream_wav1_every4": (lambda g: _stream_wave(g, 1), END_TO_END),
    "stream_latent2": (_stream_latent2, END_TO_END),
    "stream_wav2_every4": (lambda g: _stream_wave(g, 2), END_TO_END),
}
INPUTS = {
    "ssl", "text", "codes", "noise", "noise_speed", "stream_noise1", "stream_noise2", "sv1", "sv2",
    "spec", "spec2", "extract_codes",
}  # fmt: skip
WHOLE: Stage = _whole
