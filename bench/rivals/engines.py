"""Who is measured: how each is prepared and started, and what it is asked with.

Adapters know public entry points only. Nothing here installs, fetches or builds a package.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.rivals.checkpoints import REFERENCE_TEXT, Checkpoints
from bench.rivals.serving import Command, last_lines
from engine.errors import BackendUnavailable, InvalidParameter

HOSTS = Path(__file__).parent / "hosts"
_ROOT = Path(__file__).parents[2]
_PATH = "PYTHONPATH"
_PREPARE_LIMIT_S = 1800


@dataclass(frozen=True, slots=True)
class Place:
    """What an adapter works with.

    Attributes:
        python: The interpreter of its virtual environment.
        work: A folder of its own.
        data: The package's own data (dictionaries), where it keeps them outside.
        checkout: Of the public implementation.
    """

    python: Path
    work: Path
    files: Checkpoints
    data: Path | None = None
    checkout: Path | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """One of those compared.

    Attributes:
        kind: What its socket speaks, as `bench latency --kind`.
        options: Added to each request.
        prepare: Done once, untimed.
        command: What starts it on a port, writing the time of its parts to a file.
        health: See `serving`.
        folder: Of its files below the work folder; "": its name.
        is_ours: True for what ratios are of.
    """

    name: str
    kind: str
    command: Callable[[Place, int, Path], Command]
    prepare: Callable[[Place], None] = lambda place: None
    options: Callable[[Place], Mapping[str, object]] = lambda place: {}
    voice: Callable[[Place], str] = lambda place: str(place.files.reference)
    health: str = ""
    folder: str = ""
    is_ours: bool = False


def timed_main(parts: Mapping[str, tuple[str, ...]], folder: Path, log: Path) -> Path:
    """Put the program that times parts into a folder and return it."""
    script = folder / "timed_main.py"
    script.write_bytes((HOSTS / script.name).read_bytes())
    targets = [f"{part}={target}" for part, found in parts.items() for target in found]
    settings = {"log": str(log.absolute()), "targets": targets}
    script.with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")
    return script


# Ours


_OUR_PARTS = {
    "t2s": (
        "engine.backends.onnx_semantic:OnnxSemantic.prefill",
        "engine.backends.onnx_semantic:OnnxSemantic.decode",
    ),
    "decoder": tuple(
        f"engine.backends.onnx_acoustic:OnnxAcoustic.{name}"
        for name in ("encode_text", "prior", "flow", "decoder")
    ),
}
VOICE = "bench"


def _prepare_ours(place: Place) -> None:
    """Import, enrol and export, as a user does."""
    pack, files = place.work / "pack", place.files
    if (pack / "onnx" / "manifest.json").is_file():
        return
    ours = [str(place.python), "-m", "server.cli"]
    run_quietly(
        [
            *ours, "model", "import", "--name", "random-v2", "--out", str(pack), "--replace",
            "--gpt", str(files.gpt), "--sovits", str(files.sovits), "--hubert", str(files.hubert),
            "--notice", "random weights, no speech",
        ],
        place.work / "import.log",
    )  # fmt: skip
    run_quietly(
        [
            *ours, "voice", "add", VOICE, str(files.reference), "--text", REFERENCE_TEXT,
            "--lang", "en", "--pack", str(pack), "--voices-dir", str(place.work / "voices"),
            "--replace",
        ],
        place.work / "voice.log",
    )  # fmt: skip
    run_quietly([*ours, "export", str(pack)], place.work / "export.log")


def _ours(choice: str = "") -> Callable[[Place, int, Path], Command]:
    """Return what starts us: as we are, or with this choice of runtime and precision."""

    def command(place: Place, port: int, log: Path) -> Command:
        settings: dict[str, object] = {"engine.voices_dir": place.work / "voices"}
        settings["server.limits.measured_capacity"] = "false"  # the others refuse nobody either
        if choice:
            settings |= {"engine.backend": choice, "engine.precision": choice}
        words = [str(place.python), str(timed_main(_OUR_PARTS, place.work, log)), "server"]
        words += ["--port", str(port), "--pack", str(place.work / "pack")]
        for name, value in settings.items():
            words += ["--set", f"{name}={value}"]
        return Command(tuple(words), place.work, {_PATH: str(_ROOT)})

    return command


# Those that speak api_v2

_PUBLIC_PARTS = {
    "t2s": ("AR.models.t2s_model:Text2SemanticDecoder.infer_panel_naive",),
    "decoder": ("module.models:SynthesizerTrn.decode_streaming",),
}


def _write_public_config(place: Place) -> Path:
    files = place.files
    values = {
        "bert_base_path": files.bert,
        "cnhuhbert_base_path": files.hubert,
        "device": "cpu",
        "is_half": "false",
        "t2s_weights_path": files.gpt,
        "vits_weights_path": files.sovits,
        "version": "v2",
    }
    path = place.work / "tts_infer.yaml"
    lines = ["custom:", *(f"  {name}: {value}" for name, value in values.items())]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _cpufast(place: Place, port: int, log: Path) -> Command:
    site = _site_packages(place.python)
    words = [str(place.python), str(timed_main(_PUBLIC_PARTS, place.work, log))]
    words += ["gpt_sovits_cpufast.api_v2"]
    words += ["-a", "127.0.0.1", "-p", str(port), "-c", str(_write_public_config(place))]
    variables = {"GPT_SOVITS_DATA_DIR": str(place.work), _PATH: str(site / "GPT_SoVITS")}
    return Command(tuple(words), place.work, variables)


def _upstream(place: Place, port: int, log: Path) -> Command:
    if place.checkout is None:
        raise InvalidParameter("--upstream", None, "a checkout of the public implementation")
    words = [str(place.python), str(timed_main(_PUBLIC_PARTS, place.work, log))]
    words += ["api_v2", "-a", "127.0.0.1", "-p", str(port)]
    words += ["-c", str(_write_public_config(place))]
    folders = f"{place.checkout}:{place.checkout / 'GPT_SoVITS'}"
    return Command(tuple(words), place.checkout, {_PATH: folders})


def _public_options(place: Place) -> Mapping[str, object]:
    return {"prompt_text": REFERENCE_TEXT, "fragment_interval": 0.0}


# Those that are libraries


def _library(name: str, parts: Mapping[str, tuple[str, ...]]) -> Callable[..., Command]:
    def command(place: Place, port: int, log: Path) -> Command:
        files = place.files
        words = [str(place.python), str(timed_main(parts, place.work, log)), "library_host"]
        words += [name, "--port", str(port), "--reference", str(files.reference)]
        words += ["--reference-text", REFERENCE_TEXT, "--data", str(place.work / "data")]
        words += ["--gpt", str(files.gpt), "--sovits", str(files.sovits)]
        words += ["--converted", str(place.work / "converted")]
        variables = {_PATH: str(HOSTS)}
        if name == "genie-tts":
            variables["GENIE_DATA_DIR"] = str(place.work / "data")
        return Command(tuple(words), place.work, variables)

    return command


def _link(path: Path, target: Path) -> None:
    if not path.exists():
        path.symlink_to(target.resolve())


def _prepare_gsv(place: Place) -> None:
    """Put the shared files where the package looks for them, beside its own dictionaries."""
    folder = _data_folder(place)
    _link(folder / "chinese-hubert-base", place.files.hubert)
    _link(folder / "sv", place.files.speaker.parent)


def _prepare_genie(place: Place) -> None:
    """Convert the shared files with the package's own converter."""
    from bench.rivals.hubert_graph import write_hubert_graph

    folder = _data_folder(place)
    hubert = folder / "chinese-hubert-base"
    hubert.mkdir(exist_ok=True)
    if not (hubert / "chinese-hubert-base.onnx").exists():
        write_hubert_graph(place.files.hubert, hubert / "chinese-hubert-base.onnx")
    (folder / "speaker_encoder.onnx").touch()  # must exist; v2 does not read it
    converted = place.work / "converted"
    if converted.is_dir() and any(converted.iterdir()):
        return
    code = "import sys, genie_tts; genie_tts.convert_to_onnx(*sys.argv[1:])"
    files = place.files
    words = ["env", f"GENIE_DATA_DIR={folder}", str(place.python), "-c", code]
    run_quietly(
        [*words, str(files.gpt), str(files.sovits), str(converted)], place.work / "convert.log"
    )


def _data_folder(place: Place) -> Path:
    """Return the folder of the package's data: the user's own files, linked."""
    folder = place.work / "data"
    folder.mkdir(parents=True, exist_ok=True)
    for entry in place.data.iterdir() if place.data else ():
        _link(folder / entry.name, entry)
    return folder


def _site_packages(python: Path) -> Path:
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return Path(found.stdout.strip())


def run_quietly(words: list[str], log: Path) -> None:
    """Run a command to its end, its output in a file.

    Raises:
        BackendUnavailable: It failed; the text has its last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            timeout=_PREPARE_LIMIT_S,
            check=False,
        )
    if done.returncode:
        raise BackendUnavailable(f"{words[0]} ended with {done.returncode}: {last_lines(log)}")


OUR_PYTHON = Path(sys.executable)
UPSTREAM = "upstream"
ENGINES: Mapping[str, Engine] = {
    engine.name: engine
    for engine in (
        Engine("ours", "native", _ours(), _prepare_ours, voice=lambda place: VOICE,
               health="/readyz", folder="ours", is_ours=True),
        Engine("ours-auto", "native", _ours("auto"), _prepare_ours, voice=lambda place: VOICE,
               health="/readyz", folder="ours", is_ours=True),
        Engine(UPSTREAM, "api_v2", _upstream, options=_public_options),
        Engine("gpt-sovits-cpufast", "api_v2", _cpufast, options=_public_options),
        Engine("gsv-tts-lite", "api_v2", _library("gsv-tts-lite", {
            "t2s": ("gsv_tts.GPT_SoVITS.GPT.t2s_model:Text2SemanticDecoder.infer_stream",),
            "decoder": ("gsv_tts.GPT_SoVITS.SoVITS.models:SynthesizerTrn.decode",),
        }), _prepare_gsv),
        Engine("genie-tts", "api_v2", _library("genie-tts", {
            "t2s": ("genie_tts.Core.Inference:GENIE.t2s_cpu",),
            "whole": ("genie_tts.Core.Inference:GENIE.tts",),
        }), _prepare_genie),
    )
}  # fmt: skip
