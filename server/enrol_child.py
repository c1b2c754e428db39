"""The process that decodes one uploaded recording and makes a voice of it; then it is gone.

What a stranger sent is decoded here and nowhere else: a decoder that crashes, hangs or wants all
memory takes nothing with it. The job is a line of JSON on standard input, the recording follows;
the answer is a line of JSON on standard output.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

from engine.audio.io import AudioLimits, Recording, read_audio
from engine.enroll import Enrolment, Prompt, open_enroller
from engine.errors import SovitsError, VoiceError
from engine.pack import load_pack
from engine.types import Language, Voice
from engine.voice_files import DEFAULT_STYLE, with_style
from engine.voices import VoiceStore, check_pack

MAX_BYTES = 10 << 20
_LIMITS = AudioLimits(num_bytes=MAX_BYTES, duration_s=30.0, num_channels=2)
_DECODE_CPU_S = 20  # imports of a few seconds included
_ENROL_CPU_S = 180
_MEMORY_BYTES = 16 << 30  # address space: numeric libraries map far more than they use


def main() -> int:
    """Do the job on standard input."""
    limit_cpu(_DECODE_CPU_S, memory_bytes=_MEMORY_BYTES)
    job = json.loads(sys.stdin.buffer.readline())
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    answers = sys.stdout
    try:
        # Libraries that print must not speak into the answer.
        with contextlib.redirect_stdout(sys.stderr):
            recording = read_audio(data, limits=_LIMITS, name="the recording")
            limit_cpu(_ENROL_CPU_S)
            answer = enrol(job, recording)
    except SovitsError as error:
        answer = {"error": {"code": error.code, "message": str(error)}}
    answers.write(json.dumps(answer) + "\n")
    return 0


def limit_cpu(seconds: int, *, memory_bytes: int | None = None) -> None:
    """Let the kernel end this process after so much work; where it cannot, the parent's clock."""
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, resource.RLIM_INFINITY))


def enrol(job: dict[str, Any], recording: Recording) -> dict[str, Any]:
    """Make the voice, or the style of one, and save it; return what is to be said about it.

    Raises:
        SovitsError: The recording, the words or the pack cannot be used, or the name is taken.
    """
    pack, store = load_pack(Path(job["pack"])), VoiceStore(Path(job["voices_dir"]))
    name, style = job["voice"], job["style"]
    earlier = None if style == DEFAULT_STYLE else store.load(name)
    if earlier is not None:
        check_pack(store.record(name), pack)
    is_taken = style in earlier.styles if earlier else (store.directory / name).exists()
    if is_taken and not job["replace"]:
        what = f"style {style!r} of voice {name!r}" if earlier else f"voice {name!r}"
        raise VoiceError(f"{what} exists; send replace=true to make it anew", code="bad_message")
    prompt = Prompt(recording, job["text"], Language(job["lang"]))
    made = open_enroller(pack).enroll(prompt, denoise=bool(job["denoise"]))
    if earlier is not None:
        voice = with_style(earlier, style, made.style)
    else:
        styles = {DEFAULT_STYLE: made.style}
        voice = Voice(name, pack.fingerprint, styles, job["description"], job["consent"])
    store.save(voice, pack.name, keep_references=earlier is not None, replace=True)
    return {"voice": name, "style": style, **_report(made)}


def _report(made: Enrolment) -> dict[str, Any]:
    report = made.prompt.report
    return {
        "used_s": [round(made.prompt.start_s, 2), round(made.prompt.end_s, 2)],
        "transcript": made.style.transcript,
        "loudness_lufs": round(report.loudness_lufs, 1),
        "snr_db": round(report.snr_db, 1),
        "warnings": [finding.message for finding in report.findings],
    }


if __name__ == "__main__":
    sys.exit(main())
