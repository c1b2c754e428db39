"""DashScope CosyVoice-style `/api-ws/v1/inference`: tasks in JSON, audio in binary frames."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Sequence

from bench.targets.adapter import SocketAdapter
from bench.targets.base import TargetConfig
from bench.targets.sockets import Address, Audio, Failed, Heard, Message, Started
from bench.targets.urls import socket_address


class DashScope(SocketAdapter):
    """See Dialect. The task is started before the clock is, as a client that is ready does."""

    codecs = {"pcm_s16le": "pcm", "wav": "wav", "ogg": "opus"}
    is_announced = True

    def __init__(
        self, config: TargetConfig, new_id: Callable[[], str] = lambda: uuid.uuid4().hex
    ) -> None:
        super().__init__(config)
        self._new_id = new_id

    def address(self) -> Address:
        """See Dialect."""
        address = socket_address(self._config.url, "/api-ws/v1/inference")
        return Address(address, self._key(scheme="bearer "))

    def begin(self) -> Sequence[Message]:
        """See Dialect."""
        self._begin(self._new_id())
        config = self._config
        parameters: dict[str, object] = {
            "text_type": "PlainText",
            "voice": config.voice or "default",
            "format": self._codec,
            "sample_rate": config.format.rate_hz,
        }
        if config.seed is not None:
            parameters["seed"] = config.seed
        payload: dict[str, object] = {
            "task_group": "audio",
            "task": "tts",
            "function": "SpeechSynthesizer",
            "model": "cosyvoice-v3",
            "parameters": {**parameters, **config.options},
            "input": {},
        }
        return [self._message("run-task", payload)]

    def text(self, token: str) -> Sequence[Message]:
        """See Dialect."""
        return [self._message("continue-task", {"input": {"text": token}})]

    def end(self) -> Sequence[Message]:
        """See Dialect."""
        return [self._message("finish-task", {"input": {}})]

    def cancel(self) -> Sequence[Message]:
        """See Dialect."""
        self._is_stopped = True
        return [self._message("finish-task", {"input": {"directive": "cancel"}})]

    def hear(self, message: Message) -> Sequence[Heard]:
        """See Dialect."""
        if isinstance(message, bytes):
            return [Audio(message)]
        header = json.loads(message).get("header", {})
        if header.get("task_id") not in (None, self._name):
            return []
        match header.get("event"):
            case "task-started":
                return [Started()]
            case "task-finished":
                return [self._ended()]
            case "task-failed":
                return [Failed(f"{header.get('error_code')}: {header.get('error_message')}")]
        return []

    def _message(self, action: str, payload: dict[str, object]) -> str:
        header = {"action": action, "task_id": self._name, "streaming": "duplex"}
        return json.dumps({"header": header, "payload": payload}, ensure_ascii=False)
