"""What a person is told stands in their own list, once."""

import asyncio
from typing import Any

from app.people.tables import ResidentRole
from tests.conftest import Client
from tests.make import Make, Person
from tests.notices.messages.conftest import Tell

ME = "/api/v1/me/messages"


async def messages(client: Client, who: Person, query: str = "") -> list[dict[str, Any]]:
    answer = await client.get(f"{ME}{query}", as_=who)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def unread(client: Client, who: Person) -> int:
    return int((await client.get(f"{ME}/unread", as_=who)).json()["unread"])


async def test_a_resident_reads_what_they_were_told_and_the_neighbour_does_not(client: Client, make: Make, tell: Tell):
    resident, neighbour, manager = await make.resident(), await make.resident(), await make.staff()
    await tell(resident)
    (message,) = await messages(client, resident)
    assert (message["title"]["zh"], message["title"]["en"], message["read_at"]) == ("师傅已出发", "On the way", None)
    for other in (neighbour, manager):
        assert await messages(client, other) == []
        for method, url in (("GET", f"{ME}/{message['id']}"), ("POST", f"{ME}/{message['id']}/read")):
            answer = await client.request(method, url, as_=other)
            assert (answer.status_code, answer.json()["code"]) == (404, "message_not_found")
    assert await unread(client, resident) == 1


async def test_the_same_thing_is_told_once_however_often_it_is_said(client: Client, make: Make, tell: Tell):
    resident, neighbour = await make.resident(), await make.resident()
    await asyncio.gather(
        *(tell(resident, key="order-12-moved") for _ in range(8)), tell(neighbour, key="order-12-moved")
    )
    await tell(resident, key="order-12-closed")
    assert [len(await messages(client, who)) for who in (resident, neighbour)] == [2, 1]


async def test_reading_one_or_all_changes_the_count_and_keeps_the_first_time(
    client: Client, make: Make, tell: Tell, clock: Any
):
    resident, neighbour = await make.resident(), await make.resident()
    for number in range(3):
        await tell(resident, key=f"k{number}")
    await tell(neighbour)
    newest, middle, _ = await messages(client, resident)
    read = await client.post(f"{ME}/{middle['id']}/read", as_=resident)
    first_time = read.json()["read_at"]
    clock.now = clock.now.replace(hour=5)
    again = await client.post(f"{ME}/{middle['id']}/read", as_=resident)
    assert (again.json()["read_at"], await unread(client, resident)) == (first_time, 2)
    assert [row["id"] for row in await messages(client, resident, "?filter[unread]=true&limit=1")] == [newest["id"]]
    up_to = await client.post(f"{ME}/read", json={"up_to": middle["id"]}, as_=resident)
    assert (up_to.json()["marked"], await unread(client, resident)) == (1, 1)
    everything = await client.post(f"{ME}/read", json={}, as_=resident)
    assert (everything.json()["marked"], await unread(client, resident), await unread(client, neighbour)) == (1, 0, 1)
    foreign = await client.post(f"{ME}/read", json={"up_to": newest["id"]}, as_=neighbour)
    assert foreign.status_code == 404


async def test_staff_who_live_here_read_what_they_are_told_in_both_lives(
    client: Client, make: Make, tell: Tell, runtime
):
    from sqlalchemy import update

    from app.people.tables import Resident

    staff, resident = await make.staff(), await make.resident(role=ResidentRole.OWNER)
    await tell(staff, staff=True)
    async with runtime.transaction(staff.tenant) as session:
        await session.execute(update(Resident).where(Resident.id == resident.id).values(account_id=staff.account_id))
    await tell(resident, key="at home")
    assert len(await messages(client, staff)) == 2


async def test_a_key_is_nobody_and_has_no_messages(client: Client, make: Make, tell: Tell):
    await tell(await make.resident())
    key = await make.api_key("messages:read")
    assert (await client.get(ME, as_=key)).json()["items"] == []
