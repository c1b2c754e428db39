"""Official files of every version become packs; files that do not belong together do not."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench.official_files import (
    FULL_PLUS,
    FULL_PRO,
    FULL_SOVITS,
    FULL_V1,
    TINY_GPT,
    GptSizes,
    SovitsSizes,
    write_gpt,
    write_sovits,
    write_vocab,
)
from engine.checkpoint import read_official
from engine.errors import CheckpointError, InvalidParameter
from engine.importer import ImportRequest, ImportResult, check_pair, family_of, import_official
from engine.model_config import AcousticConfig, HifiGanConfig, T2SConfig
from engine.models import official_acoustic, official_t2s
from engine.pack import RANDOM_NOTICE, load_pack
from engine.types import Language
from tests.tiny_packs import FAMILIES, tiny_import, tiny_request


@pytest.fixture(scope="module", params=FAMILIES)
def imported(
    fixtures_dir: Path, request: pytest.FixtureRequest
) -> tuple[ImportRequest, ImportResult]:
    """Each tiny model."""
    return tiny_import(fixtures_dir, request.param)


@pytest.mark.parity
def test_every_version_imports(imported: tuple[ImportRequest, ImportResult]) -> None:
    """The pack has all networks, numbers from the files, and reads back."""
    request, result = imported
    family = request.name.removeprefix("tiny-")
    pack = load_pack(result.pack.path)
    assert result.warnings == ()
    assert (pack.family, pack.notice) == (family, RANDOM_NOTICE)
    assert pack.symbol_set == ("v1" if family == "v1" else "v2")
    assert (Language.YUE in pack.languages) is (family != "v1")
    assert pack.has("speaker") is family.startswith("v2Pro")
    assert pack.has("ssl") and pack.has("bert") and len(pack.vocab()) == 64
    assert pack.sample_rate_hz == 32000
    pack.verify()


@pytest.mark.parity
def test_no_weight_is_lost_or_changed(imported: tuple[ImportRequest, ImportResult]) -> None:
    """Exported again under the official names, GPT and SoVITS equal the files to the bit."""
    request, result = imported
    pack = result.pack
    pairs = [
        (request.gpt, official_t2s.weights_to_official(pack.tensors("t2s"), pack.config.t2s)),
        (
            request.sovits,
            official_acoustic.weights_to_official(pack.tensors("acoustic"), pack.config.acoustic),
        ),
    ]
    for path, ours in pairs:
        theirs = read_official(path).tensors
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            np.testing.assert_array_equal(ours[name], tensor.astype(np.float32), err_msg=name)


def test_swapped_files_are_named(fixtures_dir: Path, tmp_path: Path) -> None:
    """Giving the SoVITS file as GPT says so and leaves nothing behind."""
    request = tiny_request(fixtures_dir, tmp_path, "v2")
    with pytest.raises(CheckpointError, match=r"is SoVITS .* but GPT"):
        import_official(replace(request, gpt=request.sovits, sovits=request.gpt))
    assert not request.out.parent.exists()


def test_gpt_of_another_symbol_set_is_refused(fixtures_dir: Path, tmp_path: Path) -> None:
    """A v1 GPT with a v2 SoVITS, and the reverse, name both symbol sets."""
    v1 = tiny_request(fixtures_dir, tmp_path / "1", "v1")
    v2 = tiny_request(fixtures_dir, tmp_path / "2", "v2")
    with pytest.raises(CheckpointError, match=r"speaks the v1 phonemes \(512\).*of v2 \(732\)"):
        import_official(replace(v2, gpt=v1.gpt))
    with pytest.raises(CheckpointError, match=r"speaks the v2 phonemes .*one of v1"):
        import_official(replace(v1, gpt=v2.gpt))


def test_gpt_of_another_codebook_is_refused() -> None:
    """Semantic tokens must be the same."""
    with pytest.raises(CheckpointError, match=r"512 semantic tokens.*codebook 1024"):
        check_pair(T2SConfig(vocab_size=513), AcousticConfig())


def test_pro_model_without_speaker_network_is_refused(fixtures_dir: Path, tmp_path: Path) -> None:
    """The message names the file to give."""
    request = replace(tiny_request(fixtures_dir, tmp_path, "v2Pro"), speaker=None)
    with pytest.raises(CheckpointError, match=r"eres2netv2.*--speaker"):
        import_official(request)


def test_encoders_of_another_size_are_refused(fixtures_dir: Path, tmp_path: Path) -> None:
    """A GPT made for another BERT does not get this one."""
    request = tiny_request(fixtures_dir, tmp_path, "v2")
    gpt = write_gpt(tmp_path / "other.ckpt", replace(TINY_GPT, bert=32))
    with pytest.raises(CheckpointError, match=r"vectors of 24 numbers, the GPT file wants 32"):
        import_official(replace(request, gpt=gpt))


def test_missing_encoders_are_told(fixtures_dir: Path, tmp_path: Path) -> None:
    """Without HuBERT and BERT the pack is made, with two notes."""
    request = tiny_request(fixtures_dir, tmp_path, "v2")
    result = import_official(replace(request, hubert=None, bert=None))
    assert ["--hubert" in w or "--bert" in w for w in result.warnings] == [True, True]
    assert not result.pack.has("ssl") and result.pack.config.bert is None


def test_bert_without_vocabulary_is_refused(fixtures_dir: Path, tmp_path: Path) -> None:
    """The fixtures' own folder lacks it; so might a user's download."""
    request = tiny_request(fixtures_dir, tmp_path, "v2")
    with pytest.raises(CheckpointError, match=r"neither vocab\.txt nor tokenizer\.json"):
        import_official(replace(request, bert=fixtures_dir / "tiny_bert"))
    write_vocab(tmp_path / "bert", 65)
    with pytest.raises(CheckpointError, match="65 tokens, its network 64"):
        import_official(request)


def test_family_comes_from_structure_and_a_false_tag_is_refused() -> None:
    """Only what the tensors show counts; a Pro tag on a v2 file is an altered file."""
    plus = HifiGanConfig(upsample_kernels=(20, 16, 8, 2, 2))
    assert family_of(AcousticConfig(symbol_set="v1"), None) == "v1"
    assert family_of(AcousticConfig(), "00") == "v2"
    assert family_of(AcousticConfig(speaker_dim=20480), "05") == "v2Pro"
    assert family_of(AcousticConfig(speaker_dim=20480, decoder=plus), "06") == "v2ProPlus"
    with pytest.raises(CheckpointError, match="header says v2Pro "):
        family_of(AcousticConfig(), "05")
    with pytest.raises(CheckpointError, match="header says v2ProPlus "):
        family_of(AcousticConfig(speaker_dim=20480), "06")


def test_bad_name_writes_nothing(fixtures_dir: Path, tmp_path: Path) -> None:
    """A name with a slash is refused."""
    request = replace(tiny_request(fixtures_dir, tmp_path, "v2"), name="a/b")
    with pytest.raises(InvalidParameter, match="name"):
        import_official(request)
    assert not request.out.exists()


def test_import_needs_no_torch() -> None:
    """A base install can import official files."""
    code = "import sys, engine.importer; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


@pytest.mark.full_size
@pytest.mark.parametrize("sizes", [FULL_V1, FULL_SOVITS, FULL_PRO, FULL_PLUS])
def test_full_size_files_import(tmp_path: Path, sizes: SovitsSizes) -> None:
    """Full-size files give upstream's numbers; the speaker network is checked before writing."""
    gpt = write_gpt(tmp_path / "g", GptSizes(phonemes=512 if sizes.version == "v1" else 732))
    sovits = write_sovits(tmp_path / "s", sizes)
    request = ImportRequest("full", tmp_path / "pack", gpt, sovits, notice=RANDOM_NOTICE)
    if sizes.is_pro:
        with pytest.raises(CheckpointError, match="--speaker"):
            import_official(request)
        return
    pack = import_official(request).pack
    assert pack.family == sizes.version
    assert pack.config.t2s == T2SConfig(num_phonemes=512 if sizes.version == "v1" else 732)
    assert pack.config.acoustic.sample_rate_hz == 32000
