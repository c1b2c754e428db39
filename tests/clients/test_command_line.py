"""What the commands that speak through a running server share."""

from __future__ import annotations

import pytest

from clients.command_line import complain
from clients.errors import ConnectFailed, NothingToSpeak, ServerError, SessionLost


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ServerError("no x", code="voice_not_found", retryable=False), 1),
        (ValueError("the text is empty"), 2),
        (NothingToSpeak("nothing to speak in text '!'"), 2),
        (ConnectFailed("no connection"), 3),
        (SessionLost("session lost (1006)", close_code=1006), 3),
    ],
)
def test_an_error_is_one_line_and_a_status(
    error: Exception, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the server, of the arguments, of the connection."""
    assert complain(error) == status
    assert capsys.readouterr().err == f"error: {error}\n"
