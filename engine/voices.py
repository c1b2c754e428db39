"""The voices of a folder, and those a running engine can speak with."""

from __future__ import annotations

import logging
import shlex
import shutil
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.client import VoiceInfo
from engine.errors import SovitsError, VoiceError
from engine.pack import Pack
from engine.types import Style, Voice
from engine.voice_files import (
    ID,
    MANIFEST,
    VoiceRecord,
    check_id,
    read_record,
    read_voice,
    write_voice,
)

logger = logging.getLogger(__name__)
_CACHE_VOICES = 256  # some 0.4 MB each


@dataclass(frozen=True, slots=True)
class Listing:
    """What a folder holds: records by id, and what is wrong with the rest."""

    records: Mapping[str, VoiceRecord]
    problems: Mapping[str, VoiceError]


class VoiceStore:
    """Voices as folders below `directory`; safe to use from several threads.

    Voices are loaded when asked for; the most recently used stay in memory.
    """

    def __init__(self, directory: Path, *, cache_voices: int = _CACHE_VOICES) -> None:
        self.directory = directory
        self._cache: OrderedDict[str, tuple[tuple[int, int], Voice]] = OrderedDict()
        self._cache_voices = cache_voices
        self._lock = threading.Lock()

    def listing(self) -> Listing:
        """Read every `voice.json`; a damaged voice is reported and hides no other."""
        records: dict[str, VoiceRecord] = {}
        problems: dict[str, VoiceError] = {}
        if self.directory.is_dir():
            for folder in sorted(self.directory.iterdir()):
                if not folder.is_dir() or not ID.fullmatch(folder.name):
                    continue
                try:
                    records[folder.name] = read_record(folder)
                except VoiceError as error:
                    problems[folder.name] = error
        return Listing(records, problems)

    def load(self, voice_id: str) -> Voice:
        """Return a voice, whichever pack it is for.

        Raises:
            VoiceError: Unknown or damaged.
        """
        folder = self._folder(voice_id)
        stamp = self._stamp(folder)
        with self._lock:
            cached = self._cache.get(voice_id)
            if cached is not None and cached[0] == stamp:
                self._cache.move_to_end(voice_id)
                return cached[1]
        try:
            voice = read_voice(folder)
        except VoiceError:
            if self._stamp(folder) == stamp:
                raise
            # It was replaced while it was read: old words, new numbers.
            voice = read_voice(folder)
        with self._lock:
            self._cache[voice_id] = (stamp, voice)
            self._cache.move_to_end(voice_id)
            while len(self._cache) > self._cache_voices:
                self._cache.popitem(last=False)
        return voice

    def record(self, voice_id: str) -> VoiceRecord:
        """Return what `voice.json` says.

        Raises:
            VoiceError: Unknown or damaged.
        """
        folder = self._folder(voice_id)
        if not folder.is_dir():
            raise self._unknown(voice_id)
        return read_record(folder)

    def save(
        self,
        voice: Voice,
        pack_name: str,
        *,
        references: Mapping[str, bytes] | None = None,
        keep_references: bool = False,
        replace: bool = False,
    ) -> Path:
        """Write a voice and return its folder; see `write_voice`."""
        folder = self.directory / check_id("voice", voice.id)
        write_voice(
            folder,
            voice,
            pack_name,
            references=references,
            keep_references=keep_references,
            replace_existing=replace,
        )
        return folder

    def remove(self, voice_id: str) -> None:
        """Delete a voice with everything kept of it; a damaged one too.

        Raises:
            VoiceError: Unknown.
        """
        folder = self._folder(voice_id)
        if not folder.is_dir():
            raise self._unknown(voice_id)
        shutil.rmtree(folder)
        with self._lock:
            self._cache.pop(voice_id, None)

    def _folder(self, voice_id: str) -> Path:
        if not isinstance(voice_id, str) or not ID.fullmatch(voice_id):
            raise self._unknown(voice_id)
        return self.directory / voice_id

    def _stamp(self, folder: Path) -> tuple[int, int]:
        """Return what changes when the voice is replaced."""
        try:
            return (folder / MANIFEST).stat().st_mtime_ns, folder.stat().st_ino
        except OSError:
            raise self._unknown(folder.name) from None

    def _unknown(self, voice_id: str) -> VoiceError:
        known = ", ".join(self.listing().records) or "none"
        return VoiceError(f"there is no voice {voice_id!r:.80}; there are: {known}")


def check_pack(record: VoiceRecord, pack: Pack) -> None:
    """Check that a voice was enrolled with `pack`.

    Raises:
        VoiceError: With the command that enrols it again.
    """
    if record.pack_fingerprint == pack.fingerprint:
        return
    style = record.styles["default"]
    text = shlex.quote(str(style["transcript"]))
    raise VoiceError(
        f"voice {record.id!r} was enrolled with pack {record.pack_name!r}, not with this "
        f"{pack.name!r} ({pack.fingerprint[:12]}); enrol it again: sovits-live voice add "
        f"{record.id} REFERENCE.wav --text {text} --lang {style['language']} "
        f"--pack {pack.name} --replace",
    )


class PackVoices:
    """The voices an engine speaks with: those bundled in its pack and the user's own.

    A user's voice hides a bundled one of the same id. Voices that are damaged or of another pack
    are logged once per reload and answer with their own error when asked for.
    """

    def __init__(self, pack: Pack, voices_dir: Path | None) -> None:
        self._pack = pack
        directories = [voices_dir] if voices_dir else []
        self._stores = [VoiceStore(path) for path in (*directories, pack.path / "voices")]
        self._lock = threading.Lock()
        self._found: dict[str, tuple[VoiceRecord, VoiceStore]] = {}
        self._problems: dict[str, SovitsError] = {}
        self.reload()

    def reload(self) -> None:
        """Look again at what is there."""
        found: dict[str, tuple[VoiceRecord, VoiceStore]] = {}
        problems: dict[str, SovitsError] = {}
        for store in self._stores:
            listing = store.listing()
            for voice_id, error in listing.problems.items():
                if voice_id not in found:
                    problems.setdefault(voice_id, error)
            for voice_id, record in listing.records.items():
                if voice_id in found:
                    continue
                try:
                    check_pack(record, self._pack)
                    found[voice_id] = (record, store)
                except VoiceError as error:
                    problems.setdefault(voice_id, error)
        for voice_id in found:
            problems.pop(voice_id, None)
        for problem in problems.values():
            logger.warning("voice left out: %s", problem)
        with self._lock:
            self._found, self._problems = found, problems

    def style(self, voice_id: str, style: str) -> Style:
        """See `VoiceSource.style`."""
        with self._lock:
            entry = self._found.get(voice_id)
            problem = self._problems.get(voice_id)
            known = ", ".join(self._found) or "none"
        if entry is None:
            if problem is not None:
                raise VoiceError(str(problem), code=problem.code)
            raise VoiceError(f"there is no voice {voice_id!r:.80}; there are: {known}")
        voice = entry[1].load(voice_id)
        if voice.pack_fingerprint != self._pack.fingerprint:
            # Replaced on disk since the last reload, for another pack.
            check_pack(entry[1].record(voice_id), self._pack)
        found = voice.styles.get(style)
        if found is None:
            raise VoiceError(
                f"voice {voice_id!r} has no style {style!r:.80}; it has: "
                f"{', '.join(sorted(voice.styles))}"
            )
        return found

    def infos(self) -> tuple[VoiceInfo, ...]:
        """See `VoiceSource.infos`."""
        with self._lock:
            return tuple(self._found[voice_id][0].info() for voice_id in sorted(self._found))
