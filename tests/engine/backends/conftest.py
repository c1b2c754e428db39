"""The pack whose exported graphs the runtime tests open."""

from __future__ import annotations

import pytest

from engine.pack import Pack
from tests.micro_pack import micro_pack


@pytest.fixture(scope="session")
def micro(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """A pack with graphs and a voice; tests that change it make their own."""
    return micro_pack(tmp_path_factory.mktemp("packs"))
