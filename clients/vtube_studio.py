"""A plugin's end of the VTube Studio API: it is allowed once, then sets tracking parameters.

Source: the public API of VTube Studio, version 1.0, https://github.com/DenchiSoft/VTubeStudio
"""

from __future__ import annotations

import itertools
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from clients.errors import ConnectFailed, StreamError

logger = logging.getLogger(__name__)

URL = "ws://127.0.0.1:8001"
MOUTH = "MouthOpen"
_NAME, _DEVELOPER = "sovits-live mouth", "sovits-live"
_API = {"apiName": "VTubeStudioPublicAPI", "apiVersion": "1.0"}
_ERROR = "APIError"


class VtubeStudioError(StreamError):
    """VTube Studio refused a request.

    Attributes:
        error_id: Its number, such as 50 for "the user denied access".
    """

    def __init__(self, error_id: int, message: str) -> None:
        super().__init__(f"VTube Studio refused ({error_id}): {message}")
        self.error_id = error_id


class VtubeStudio:
    """A session with VTube Studio; enter it to connect and be allowed.

    Args:
        token_path: Where the permission is kept: with it, the user is asked only once.
    """

    def __init__(self, url: str, token_path: Path) -> None:
        self._url = url
        self._token_path = token_path
        self._socket: ClientConnection | None = None
        self._numbers = itertools.count(1)

    async def __aenter__(self) -> Self:
        try:
            self._socket = await connect(self._url, proxy=None, compression=None)
        except (OSError, TimeoutError, WebSocketException) as error:
            hint = "start VTube Studio and switch on its API (Settings, Plugins)"
            raise ConnectFailed(f"no VTube Studio at {self._url}: {error}; {hint}") from error
        try:
            await self._authenticate()
        except BaseException:
            await self._socket.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._socket is not None:
            await self._socket.close()

    async def set_parameter(self, value: float, name: str = MOUTH) -> None:
        """Set a tracking parameter; VTube Studio takes control back after a second without one."""
        parameter = {"id": name, "value": round(value, 3)}
        data = {"faceFound": False, "mode": "set", "parameterValues": [parameter]}
        await self._request("InjectParameterDataRequest", data)

    async def _authenticate(self) -> None:
        token = self._token_path.read_text("utf-8").strip() if self._token_path.exists() else ""
        if token and await self._is_allowed(token):
            return
        logger.info("VTube Studio asks its user to allow this plugin")
        answer = await self._request("AuthenticationTokenRequest", _plugin())
        token = str(answer["authenticationToken"])
        if not await self._is_allowed(token):
            raise VtubeStudioError(0, "it gave a token and does not take it")
        self._token_path.parent.mkdir(parents=True, exist_ok=True)
        self._token_path.touch(mode=0o600)
        self._token_path.write_text(token, "utf-8")

    async def _is_allowed(self, token: str) -> bool:
        data = {**_plugin(), "authenticationToken": token}
        answer = await self._request("AuthenticationRequest", data)
        return bool(answer["authenticated"])

    async def _request(self, kind: str, data: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request and return the data of its answer.

        Raises:
            VtubeStudioError: If it is refused.
            ConnectFailed: If VTube Studio is gone.
        """
        assert self._socket is not None
        number = str(next(self._numbers))
        message = {**_API, "requestID": number, "messageType": kind, "data": data}
        try:
            await self._socket.send(json.dumps(message))
            while True:
                answer = json.loads(await self._socket.recv())
                if answer.get("requestID") == number:
                    break
        except ConnectionClosed as error:
            raise ConnectFailed(f"VTube Studio ended the connection: {error}") from error
        found: dict[str, Any] = answer.get("data", {})
        if answer.get("messageType") == _ERROR:
            raise VtubeStudioError(int(found.get("errorID", 0)), str(found.get("message", "")))
        return found


def _plugin() -> dict[str, str]:
    return {"pluginName": _NAME, "pluginDeveloper": _DEVELOPER}
