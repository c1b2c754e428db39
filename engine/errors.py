"""Every error the engine raises on purpose, each with a wire code.

    SovitsError(code, retryable)
    ├── InvalidParameter        a value out of range; names field, value and what is valid
    ├── TextError               text that cannot be spoken (unsupported language, too long)
    ├── VoiceError              unknown voice, bad reference audio, voice of another pack
    ├── CheckpointError         a model file or pack that cannot be used
    ├── DownloadError           a file that cannot be fetched, or is not what it should be
    ├── WatermarkError          a watermark key that cannot be used
    ├── BackendUnavailable      a missing package or device; says how to get it
    ├── Overloaded              no slot or memory for another sentence right now
    └── EngineFailed            a bug or a dead engine process

The caller's mistakes raise one of these; `assert` is for our own invariants only.
"""

from __future__ import annotations


class SovitsError(Exception):
    """Base of all deliberate errors.

    Attributes:
        code: Stable snake_case identifier, the `code` of the wire protocol.
        retryable: True if the same request may succeed later unchanged.
    """

    code: str = "internal"
    retryable: bool = False

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[object, ...]:
        # Subclasses take different arguments; errors cross process borders, so rebuild from state.
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(cls: type[SovitsError], args: tuple[object, ...], state: dict[str, object]) -> object:
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class InvalidParameter(SovitsError):
    """A field holds a value that is not allowed."""

    code = "bad_message"

    def __init__(self, field: str, value: object, valid: str) -> None:
        super().__init__(f"{field} is {value!r:.120}, valid: {valid}")
        self.field = field
        self.value = value
        self.valid = valid


class TextError(SovitsError):
    """Text that cannot be turned into phonemes."""

    code = "unsupported_lang"


class VoiceError(SovitsError):
    """A voice that does not exist or cannot be used, or a reference that cannot become one."""

    code = "voice_not_found"


class CheckpointError(SovitsError):
    """A checkpoint or model pack that is damaged, foreign or inconsistent."""

    code = "bad_checkpoint"


class DownloadError(SovitsError):
    """A file of a hub that cannot be had: no network, no room, a wrong checksum."""

    code = "download_failed"
    retryable = True


class WatermarkError(SovitsError):
    """A watermark key that cannot be read, written or used."""

    code = "bad_watermark_key"


class BackendUnavailable(SovitsError):
    """A runtime, extra or device that is not installed here."""

    code = "backend_unavailable"


class Overloaded(SovitsError):
    """No capacity for another sentence; try again after `retry_after_ms`."""

    code = "overloaded"
    retryable = True

    def __init__(self, message: str, *, retry_after_ms: int = 500) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class EngineFailed(SovitsError):
    """The engine broke while working on this sentence; partial audio may exist."""

    code = "engine_failed"
    retryable = True
