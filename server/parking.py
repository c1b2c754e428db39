"""Sessions by their resume token: a client whose socket broke finds its contexts again."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.session import Session

RESUME_TTL_S = 30.0


class Parking:
    """Every session of a server that may be resumed."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def enter(self, session: Session) -> str:
        """Return the token under which a session is found."""
        token = secrets.token_urlsafe(24)
        self._sessions[token] = session
        return token

    def leave(self, token: str) -> None:
        """Forget a session that is over."""
        self._sessions.pop(token, None)

    def find(self, token: str, holder: str) -> Session | None:
        """Return the session of a token, if the holder of the same key asks."""
        session = self._sessions.get(token)
        return session if session is not None and session.holder == holder else None
