"""Where the official weights lie: which files make which version, and the hubs that have them.

Every file is named with its sha256, so a mirror need not be trusted: what it sends is either the
official file or refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote, urlsplit

from engine.errors import InvalidParameter

# The snapshot of lj1995/GPT-SoVITS the sums below are of.
REVISION = "336b2ec4e8d4ac74740798dd40af44e74659ecaf"
AUTO = "auto"  # every hub in order, until one answers


class Role(StrEnum):
    """What a file is for."""

    GPT = "gpt"
    SOVITS = "sovits"
    HUBERT = "hubert"
    BERT = "bert"
    SPEAKER = "speaker"


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of the official repository.

    Attributes:
        path: Below the repository's root, as upstream lays it out.
        sha256: Of its content, as the hub publishes it.
        num_bytes: For the plan (disk, progress); the sum alone decides whether a file is right.
    """

    role: Role
    path: str
    sha256: str
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Source:
    """A hub: its name and the address below which the repository's files are."""

    name: str
    base_url: str

    def url(self, path: str) -> str:
        """Return the address of a file of the repository."""
        return f"{self.base_url}/{quote(path)}"


SOURCES: Mapping[str, Source] = {
    source.name: source
    for source in (
        Source("huggingface", f"https://huggingface.co/lj1995/GPT-SoVITS/resolve/{REVISION}"),
        Source("hf-mirror", f"https://hf-mirror.com/lj1995/GPT-SoVITS/resolve/{REVISION}"),
        # This repository is laid out by upstream's installer: everything one folder further down.
        Source(
            "modelscope",
            "https://www.modelscope.cn/models/XXXXRT/GPT-SoVITS-Pretrained/resolve/master"
            "/pretrained_models",
        ),
    )
}

_HUBERT = (
    HubFile(
        Role.HUBERT,
        "chinese-hubert-base/config.json",
        "c3e5060a1277e0f078cc6be9da4528a605dba6ece93018981fe2c820e5c7b103",
        1_449,
    ),
    HubFile(
        Role.HUBERT,
        "chinese-hubert-base/pytorch_model.bin",
        "24164f129c66499d1346e2aa55f183250c223161ec2770c0da3d3b08cf432d3c",
        188_811_417,
    ),
)
_BERT = (
    HubFile(
        Role.BERT,
        "chinese-roberta-wwm-ext-large/config.json",
        "3d57de2fd7e80d0e5c8ff194f0bbb6baa10df7e43fc262a0cc71298a78b0a3e5",
        963,
    ),
    HubFile(
        Role.BERT,
        "chinese-roberta-wwm-ext-large/tokenizer.json",
        "173796956820ea27bd14f76bf28162607ff4254807e2948253eb5b46f5bb643b",
        268_962,
    ),
    HubFile(
        Role.BERT,
        "chinese-roberta-wwm-ext-large/pytorch_model.bin",
        "e53a693acc59ace251d143d068096ae0d7b79e4b1b503fa84c9dcf576448c1d8",
        651_225_145,
    ),
)
_SPEAKER = HubFile(
    Role.SPEAKER,
    "sv/pretrained_eres2netv2w24s4ep4.ckpt",
    "4f5a0bf73c61eb41b174e1bb54e7ee3c83233892be8e0af1f187024e8e581a35",
    107_528_697,
)
_GPT_V1 = HubFile(
    Role.GPT,
    "s1bert25hz-2kh-longer-epoch=68e-step=50232.ckpt",
    "b1c1e17e9c99547a89388f72048cd6e1b41b5a18b170e86a46dfde0324d63eb1",
    155_090_000,  # from its parameter count
)
_GPT_V2 = HubFile(
    Role.GPT,
    "gsv-v2final-pretrained/s1bert25hz-5kh-longer-epoch=12-step=369668.ckpt",
    "732f94e63b148066e24c7f9d2637f3374083e637635f07fbdb695dee20ddbe1f",
    155_315_150,
)
_GPT_PRO = HubFile(
    Role.GPT,
    "s1v3.ckpt",  # upstream's config.py: all Pro models speak with v3's GPT
    "87133414860ea14ff6620c483a3db5ed07b44be42e2c3fcdad65523a729a745a",
    155_284_856,
)
_SOVITS_V1 = HubFile(
    Role.SOVITS,
    "s2G488k.pth",
    "020a014e1e01e550e510f2f61fae5e5f5b6aab40f15c22f1f12f724df507e835",
    105_960_000,  # from its parameter count
)
_SOVITS_V2 = HubFile(
    Role.SOVITS,
    "gsv-v2final-pretrained/s2G2333k.pth",
    "924fdccaa3c574bf139c25c9759aa1ed3b3f99e19a7c529ee996c2bc17663695",
    106_035_259,
)
_SOVITS_PRO = HubFile(
    Role.SOVITS,
    "v2Pro/s2Gv2Pro.pth",
    "0f8ead815234365edf045c6d86370ed6e4f440e8195be77ff0ea72684ad406a5",
    162_303_657,
)
_SOVITS_PLUS = HubFile(
    Role.SOVITS,
    "v2Pro/s2Gv2ProPlus.pth",
    "d42a22bbbf65fb2bbdd45ad6a66841156977db45c7aabe0a6992ff378d9c7d3b",
    200_125_741,
)

VERSIONS: Mapping[str, tuple[HubFile, ...]] = {
    "v1": (_GPT_V1, _SOVITS_V1, *_HUBERT, *_BERT),
    "v2": (_GPT_V2, _SOVITS_V2, *_HUBERT, *_BERT),
    "v2Pro": (_GPT_PRO, _SOVITS_PRO, _SPEAKER, *_HUBERT, *_BERT),
    "v2ProPlus": (_GPT_PRO, _SOVITS_PLUS, _SPEAKER, *_HUBERT, *_BERT),
}

LICENCES = (
    "GPT-SoVITS pretrained models (lj1995/GPT-SoVITS): MIT",
    "chinese-hubert-base (TencentGameMate): MIT",
    "chinese-roberta-wwm-ext-large (hfl): Apache-2.0",
    "ERes2NetV2 speaker verification (3D-Speaker): Apache-2.0",
)


def sources_of(choice: str) -> tuple[Source, ...]:
    """Return the hubs to ask, in order.

    Args:
        choice: `auto`, a name of SOURCES, or an address of one's own below which the repository's
            files lie.

    Raises:
        InvalidParameter: It is none of these.
    """
    if choice == AUTO:
        return tuple(SOURCES.values())
    if choice in SOURCES:
        return (SOURCES[choice],)
    parts = urlsplit(choice)
    if parts.scheme in ("http", "https") and parts.netloc:
        return (Source(parts.netloc, choice.rstrip("/")),)
    valid = f"{AUTO}, {', '.join(SOURCES)}, or an address beginning with http"
    raise InvalidParameter("source", choice, valid)
