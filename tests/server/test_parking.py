"""Resume tokens; what a session does with them is in test_session."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from server.parking import Parking


def test_a_token_finds_its_session_for_the_same_key_only() -> None:
    """Until the session is over."""
    parking = Parking()
    session: Any = SimpleNamespace(holder="alice")
    token = parking.enter(session)
    assert parking.enter(SimpleNamespace(holder="bob")) != token  # type: ignore[arg-type]
    assert parking.find(token, "alice") is session
    assert parking.find(token, "bob") is None
    assert parking.find("guess", "alice") is None
    parking.leave(token)
    parking.leave(token)
    assert parking.find(token, "alice") is None
    assert len(parking) == 1
