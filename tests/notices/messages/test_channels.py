"""A community's own channels: who may set them up, what may stand in them, what goes through which."""

from collections.abc import Awaitable, Callable
from typing import Any

from app.people.tables import StaffRole
from tests.conftest import Client
from tests.make import Make, Person
from tests.notices.messages.conftest import Tell
from tests.notices.messages.receivers import Receiver

OpenChannel = Callable[..., Awaitable[dict[str, Any]]]


async def test_the_secret_is_shown_once_and_kept_sealed(
    client: Client, manager: Person, open_channel: OpenChannel, receiver: Receiver, runtime
):
    made = await open_channel(manager, kind="webhook", url=receiver.url)
    url = f"{manager.place.url}/notice-channels/{made['id']}"
    for answer in (await client.get(url, as_=manager), await client.get(url.rpartition("/")[0], as_=manager)):
        assert made["secret"] not in answer.text
    from app.notices.tables import NoticeChannel

    async with runtime.transaction(manager.tenant) as session:
        row = await session.get_one(NoticeChannel, made["id"])
    assert made["secret"] not in row.sealed_secret


async def test_channels_are_changed_by_version_and_taken_away(
    client: Client, manager: Person, make: Make, open_channel: OpenChannel, receiver: Receiver
):
    made = await open_channel(manager, kind="webhook", url=receiver.url)
    url = f"{manager.place.url}/notice-channels/{made['id']}"
    etag = (await client.get(url, as_=manager)).headers["etag"]
    changed = await client.patch(url, json={"use": "emergencies"}, headers={"If-Match": etag}, as_=manager)
    assert (changed.status_code, changed.json()["use"]) == (200, "emergencies")
    stale = await client.patch(url, json={"enabled": False}, headers={"If-Match": etag}, as_=manager)
    assert stale.status_code == 412
    engineer = await make.staff(role=StaffRole.ENGINEER)
    assert (await client.delete(url, as_=engineer)).status_code == 403
    assert (await client.delete(url, as_=manager)).status_code == 204
    assert (await client.get(url, as_=manager)).json()["code"] == "notice_channel_not_found"


async def test_what_cannot_work_is_refused_when_it_is_typed_in(client: Client, manager: Person):
    url = f"{manager.place.url}/notice-channels"
    for body, code in (
        ({"kind": "sms"}, "url_missing"),
        ({"kind": "email", "url": "https://example.org"}, "url_not_used"),
        ({"kind": "webhook", "url": "ftp://example.org/x"}, "target_refused"),
        ({"kind": "webhook", "url": "http://169.254.169.254/latest"}, "target_refused"),
        ({"kind": "webhook", "url": "http://[::1]/x"}, "target_refused"),
        ({"kind": "carrier pigeon"}, "request_invalid"),
    ):
        answer = await client.post(url, json={"name": "门", **body}, as_=manager)
        assert (answer.status_code, answer.json()["code"]) == (422, code), body


async def test_a_community_has_a_handful_of_channels(client: Client, manager: Person, open_channel: OpenChannel):
    for _ in range(10):
        await open_channel(manager, kind="email")
    url = f"{manager.place.url}/notice-channels"
    full = await client.post(url, json={"name": "门", "kind": "email"}, as_=manager)
    assert (full.status_code, full.json()["code"]) == (409, "too_many_notice_channels")


async def test_each_channel_gets_its_audience_and_what_it_is_for(
    manager: Person, make: Make, tell: Tell, open_channel: OpenChannel, receiver: Receiver, run_jobs
):
    resident = await make.resident()
    await open_channel(manager, kind="webhook", url=f"{receiver.url}?staff", audience="staff")
    await open_channel(manager, kind="webhook", url=f"{receiver.url}?loud", use="emergencies")
    await open_channel(manager, kind="webhook", url=f"{receiver.url}?off", enabled=False)
    await tell(resident, key="1")
    await tell(resident, key="2", kind="emergency.ring")
    await tell(manager, key="3", staff=True)
    await run_jobs()
    assert sorted((body["kind"], body["person"]["kind"]) for body in receiver.bodies) == [
        ("emergency.ring", "resident"), ("workorder.moved", "staff"),
    ]  # fmt: skip


async def test_the_test_button_sends_through_this_channel_only_even_at_night(
    client: Client, manager: Person, make: Make, open_channel: OpenChannel, receiver: Receiver, run_jobs, clock
):
    clock.now = clock.now.replace(hour=16)
    await open_channel(manager, kind="webhook", url=receiver.url)
    made = await open_channel(manager, kind="webhook", url=receiver.url, name="备用")
    url = f"{manager.place.url}/notice-channels/{made['id']}/test"
    assert (await client.post(url, as_=manager)).status_code == 202
    await run_jobs()
    assert [body["body"]["zh"] for body in receiver.bodies] == ["这是通过“备用”发送的测试消息。"]
    key = await make.api_key("deliveries:write")
    assert (await client.post(url, as_=key)).json()["code"] == "nobody_to_tell"
