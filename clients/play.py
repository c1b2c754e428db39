"""Play samples while they arrive, through whatever player the system has."""

from __future__ import annotations

import asyncio
import shutil

from clients.errors import Unplayable
from clients.events import AudioPacket, ContextStarted
from clients.save import SampleStream

# Programs that play raw 16-bit mono from their standard input; the first one found is used.
PLAYERS: tuple[tuple[str, ...], ...] = (
    ("pacat", "--playback", "--raw", "--format=s16le", "--channels=1", "--rate={rate}"),
    ("aplay", "-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", "{rate}", "-"),
    ("play", "-q", "-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-r", "{rate}", "-"),
    (
        *("ffplay", "-loglevel", "error", "-nodisp", "-autoexit"),
        *("-f", "s16le", "-ch_layout", "mono", "-ar", "{rate}", "-i", "-"),
    ),
)
PLAYABLE_CODECS = ("opus", "pcm_s16le")


def player_command(rate_hz: int) -> list[str]:
    """Return the command of the first player that is installed.

    Raises:
        Unplayable: If there is none.
    """
    for name, *arguments in PLAYERS:
        path = shutil.which(name)
        if path is not None:
            return [path, *(argument.format(rate=rate_hz) for argument in arguments)]
    names = ", ".join(name for name, *_ in PLAYERS)
    raise Unplayable(f"no player found, install one of {names}, or write a file with --out")


class Player:
    """Plays one context. Packets are taken as fast as the player reads."""

    def __init__(self, process: asyncio.subprocess.Process, started: ContextStarted) -> None:
        self._process = process
        self._samples = SampleStream(started)

    @classmethod
    async def start(cls, started: ContextStarted) -> Player:
        """Start the player.

        Raises:
            Unplayable: If there is none, or the codec is not one of PLAYABLE_CODECS.
        """
        if started.codec not in PLAYABLE_CODECS:
            valid = ", ".join(PLAYABLE_CODECS)
            raise Unplayable(f"{started.codec} cannot be played, valid: {valid}")
        process = await asyncio.create_subprocess_exec(
            *player_command(started.rate), stdin=asyncio.subprocess.PIPE
        )
        return cls(process, started)

    async def add(self, packet: AudioPacket) -> None:
        """Hand over the next packet and wait while the player is full."""
        await self._write(self._samples.add(packet))

    async def close(self, total_samples48: int | None) -> None:
        """Play out."""
        await self._write(self._samples.finish(total_samples48))
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def stop(self) -> None:
        """Be silent at once."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Unplayable(
                "the player ended early, see its message above; where there is no audio device, "
                "write a file with --out"
            ) from error
