"""A runtime that may speak to this machine: a mail server and a receiver of webhooks of the test."""

import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from app.notices import deliveries
from app.runtime import Runtime
from tests.conftest import Client
from tests.make import Make, Person
from tests.notices.messages.receivers import Inbox, Receiver
from tests.notices.receiver import listening

Tell = Callable[..., Awaitable[None]]


@pytest.fixture
async def inbox() -> AsyncIterator[Inbox]:
    inbox = Inbox()
    async with listening(inbox.serve) as inbox.port:
        yield inbox


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with listening(receiver.serve) as receiver.port:
        yield receiver


@pytest.fixture
async def runtime(runtime: Runtime, inbox: Inbox, receiver: Receiver) -> Runtime:
    settings = runtime.settings.model_copy(
        update={
            "smtp_url": f"smtp://127.0.0.1:{inbox.port}",
            "smtp_from": "desk@taoyuan.example",
            "outgoing_private_hosts": ["127.0.0.1"],
            "outgoing_ports": [80, 443, receiver.port],
            "delivery_attempts_max": 3,
        }
    )
    return dataclasses.replace(runtime, settings=settings)


@pytest.fixture
async def manager(make: Make) -> Person:
    return await make.staff()


@pytest.fixture
def tell(runtime: Runtime) -> Tell:
    """Tells a resident or a member of staff something, as a feature above does."""

    async def tell(person: Person, *, staff: bool = False, kind: str = "workorder.moved", key: str = "k") -> None:
        who: dict[str, Any] = {"staff_id": person.id} if staff else {"resident_id": person.id}
        async with runtime.transaction(person.tenant) as session:
            await deliveries.tell(
                session, runtime, community_id=person.place.id, kind=kind, key=key, link="https://example.org/o/1",
                title={"zh": "师傅已出发", "en": "On the way"}, body={"zh": "工单 12 已派单。", "en": "Order 12."}, **who,
            )  # fmt: skip

    return tell


@pytest.fixture
def open_channel(client: Client) -> Callable[..., Awaitable[dict[str, Any]]]:
    async def open_channel(manager: Person, **body: Any) -> dict[str, Any]:
        answer = await client.post(f"{manager.place.url}/notice-channels", json={"name": "门", **body}, as_=manager)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    return open_channel


@pytest.fixture
def listed(client: Client) -> Callable[..., Awaitable[list[dict[str, Any]]]]:
    """The deliveries of a community as staff see them, newest first, with their tries."""

    async def listed(manager: Person) -> list[dict[str, Any]]:
        url = f"{manager.place.url}/message-deliveries"
        rows = (await client.get(url, as_=manager)).json()["items"]
        return [(await client.get(f"{url}/{row['id']}", as_=manager)).json() for row in rows]

    return listed
