"""A receiver, and settings that let the tests reach it."""

from collections.abc import AsyncIterator

import pytest

from app.settings import Settings
from tests.notices.receiver import Receiver, receiving


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def reaching(settings: Settings, receiver: Receiver) -> Settings:
    """Settings of a house that may speak to this machine's own receiver, and is quick to give up."""
    return opened(settings, receiver)


def opened(settings: Settings, receiver: Receiver) -> Settings:
    return settings.model_copy(
        update={
            "outgoing_private_hosts": ["127.0.0.1", "hooks.example"], "outgoing_ports": [80, 443, receiver.port],
            "outgoing_seconds": 2.0, "outgoing_connect_seconds": 1.0,
        }
    )  # fmt: skip
