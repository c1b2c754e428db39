"""Which event loops the server's tests run on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

BOTH = {"test_session"}  # modules that run on both loops


@pytest.fixture(autouse=True)
def timeouts_looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Find what has timed out soon after: tests set timeouts shorter than the server's look."""
    monkeypatch.setattr("server.session._TICK_S", 0.02)
    monkeypatch.setattr("server.dialects.sockets._TICK_S", 0.02)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Return the loops a test is run on."""
    del config
    if item.path.stem in BOTH:
        return {"asyncio": asyncio.SelectorEventLoop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.SelectorEventLoop}
