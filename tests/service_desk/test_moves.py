"""Every move by every kind of person, over HTTP: what the table allows is done, what it does not is refused."""

import asyncio
from typing import Any

from sqlalchemy import func, select, update

from app.people.tables import StaffRole
from app.runtime import Runtime
from app.service_desk.tables import Status, WorkOrder, WorkOrderEvent
from app.service_desk.transitions import ENDED, UNASSIGNED, Mover, allowed, is_allowed
from tests.chat.test_statements import counting
from tests.conftest import Client
from tests.make import Make, Order, Person

VERBS: dict[Status, str] = {
    Status.SUBMITTED: "reopen",
    Status.ACCEPTED: "accept",
    Status.DISPATCHED: "dispatch",
    Status.IN_PROGRESS: "start",
    Status.PAUSED: "pause",
    Status.QUOTED: "quote",
    Status.AWAITING_PAYMENT: "await-payment",
    Status.AWAITING_RATING: "complete",
    Status.RETURN_VISIT: "return-visit",
    Status.CLOSED: "close",
    Status.RETURNED: "return",
    Status.TRANSFERRED: "transfer",
    Status.PAYMENT_FAILED: "payment-failed",
    Status.CLOSED_UNHANDLED: "close-unhandled",
    Status.CANCELLED: "cancel",
}
"""For each status a verb that leads there."""
OF_RESIDENTS = {Status.SUBMITTED: "reopen", Status.IN_PROGRESS: "confirm-quote", Status.CANCELLED: "cancel"}


def test_every_status_has_its_verb():
    assert set(VERBS) == set(Status)


async def put_back(make: Make, order: Order, status: Status, assignee: Person) -> None:
    """The order as it was before the move that was allowed."""
    async with make._runtime.transaction(order.place.tenant) as session:
        held = {"assignee_id": None if status in UNASSIGNED else assignee.id}
        ended = {"closed_at": make._runtime.clock() if status in ENDED else None}
        await session.execute(update(WorkOrder).where(WorkOrder.id == order.id).values(status=status, **held, **ended))


async def test_every_move_by_everybody(client: Client, make: Make):
    people = {
        "resident": await make.resident(), "colleague": await make.staff(role=StaffRole.SECURITY),
        "assignee": await make.staff(role=StaffRole.ENGINEER), "desk": await make.staff(role=StaffRole.FRONT_DESK),
    }  # fmt: skip
    movers = {
        "resident": {Mover.REPORTER}, "colleague": {Mover.STAFF}, "assignee": {Mover.STAFF, Mover.ASSIGNEE},
        "desk": {Mover.STAFF, Mover.DISPATCHER},
    }  # fmt: skip
    bodies: dict[str, Any] = {
        "dispatch": {"assignee_id": str(people["assignee"].id)}, "transfer": {"assignee_id": str(people["assignee"].id)},
        "quote": {"quote_cents": 100},
    }  # fmt: skip
    wrong: list[Any] = []
    done = 0

    async def try_from(row: int, status: Status) -> None:
        nonlocal done
        order = await make.work_order(reporter=people["resident"], text=f"问题 {status}")
        await put_back(make, order, status, people["assignee"])
        for name, person in people.items():
            capacities = frozenset(movers[name])
            if status in UNASSIGNED:
                capacities -= {Mover.ASSIGNEE}
            mine = name == "resident"
            url = f"/api/v1/me/workorders/{order.id}" if mine else order.url
            shown = await client.get(url, as_=person)
            if shown.json()["moves"] != allowed(status, capacities):
                wrong.append((status, name, shown.json()["moves"]))
            for place, (to, verb) in enumerate((OF_RESIDENTS if mine else VERBS).items()):
                # All that is allowed; of what is refused, which `moves` told already, a part that is another each time.
                if not is_allowed(status, to, capacities) and (place + row) % 4:
                    continue
                body = {"note": "说明", **bodies.get(verb, {})}
                answer = await client.post(f"{url}/{verb}", json=body, as_=person)
                done += 1
                if is_allowed(status, to, capacities):
                    if (answer.status_code, answer.json().get("status")) != (200, to):
                        wrong.append((status, name, verb, answer.text))
                    await put_back(make, order, status, people["assignee"])
                elif answer.status_code != 409 or not refused_well(answer.json(), allowed(status, capacities)):
                    wrong.append((status, name, verb, answer.text))

    await asyncio.gather(*(try_from(row, status) for row, status in enumerate(Status)))
    assert not wrong, wrong[:10]
    assert done > 200


def refused_well(problem: dict[str, Any], moves: list[Status]) -> bool:
    """Told who has it, or which moves there are."""
    if problem["code"] == "work_order_taken":
        return bool(problem["facts"]["assignee_name"])
    return (problem["code"], problem["facts"]["allowed"]) == ("work_order_move_not_allowed", moves)


async def test_twenty_grab_one_order_and_one_gets_it(client: Client, make: Make, runtime: Runtime):
    order = await make.work_order()
    staff = [await make.staff(role=StaffRole.ENGINEER) for _ in range(20)]
    answers = await asyncio.gather(*(client.post(f"{order.url}/accept", json={}, as_=one) for one in staff))
    winners = [one for one, answer in zip(staff, answers, strict=True) if answer.status_code == 200]
    assert len(winners) == 1
    for answer in answers:
        if answer.status_code != 200:
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (409, "work_order_taken")
            assert problem["facts"]["assignee_id"] == str(winners[0].id)
            assert problem["facts"]["assignee_name"] == "员工"
    async with runtime.transaction(order.place.tenant) as session:
        events = select(func.count()).where(WorkOrderEvent.work_order_id == order.id)
        assert await session.scalar(events) == 2, "created, accepted"


async def test_an_order_is_given_to_staff_of_this_community_only(client: Client, make: Make):
    order, desk = await make.work_order(), await make.staff(role=StaffRole.FRONT_DESK)
    stranger = await make.staff(place=await make.place())
    refused = await client.post(f"{order.url}/dispatch", json={"assignee_id": str(stranger.id)}, as_=desk)
    assert (refused.status_code, refused.json()["code"]) == (404, "staff_not_found")


async def test_a_complaint_about_a_colleague_is_hidden_from_them_and_the_reporter_from_the_rest(
    client: Client, make: Make
):
    rude, colleague = await make.staff(role=StaffRole.SECURITY), await make.staff(role=StaffRole.ENGINEER)
    desk, resident = await make.staff(role=StaffRole.FRONT_DESK), await make.resident()
    body = {"text": "保安态度太差", "kind": "complaint", "about_staff_id": str(rude.id)}
    made = await client.post("/api/v1/me/workorders", json=body, as_=resident)
    assert made.status_code == 201, made.text
    url = f"{desk.place.url}/workorders/{made.json()['id']}"
    seen = (await client.get(url, as_=desk)).json()
    assert (seen["reporter_id"], seen["reporter_hidden"]) == (str(resident.id), False)
    for who in (rude, colleague):
        assert (await client.get(url, as_=who)).status_code == 404
        assert made.json()["id"] not in (await client.get(f"{desk.place.url}/workorders", as_=who)).text
        assert (await client.get(f"{url}/events", as_=who)).status_code == 404
    given = await client.post(f"{url}/dispatch", json={"assignee_id": str(rude.id)}, as_=desk)
    assert (given.status_code, given.json()["code"]) == (409, "work_order_assignee_not_suitable")
    dispatched = await client.post(f"{url}/dispatch", json={"assignee_id": str(colleague.id)}, as_=desk)
    assert dispatched.status_code == 200, dispatched.text
    seen = (await client.get(url, as_=colleague)).json()
    assert (seen["reporter_id"], seen["contact_name"], seen["reporter_hidden"]) == (None, "", True)
    told = {event["actor_id"] for event in (await client.get(f"{url}/events", as_=colleague)).json()["items"]}
    assert str(resident.id) not in told
    # A manager who is complained about does not see it either.
    boss = await make.staff()
    body |= {"about_staff_id": str(boss.id), "text": "经理从不回消息"}
    about_boss = (await client.post("/api/v1/me/workorders", json=body, as_=resident)).json()
    assert (await client.get(f"{desk.place.url}/workorders/{about_boss['id']}", as_=boss)).status_code == 404


async def test_opening_and_moving_cost_few_statements(client: Client, make: Make, runtime: Runtime):
    """BEGIN and COMMIT are not counted; who asks and the audit row are."""
    resident, manager = await make.resident(), await make.staff()
    url = "/api/v1/me/workorders"
    await client.post(url, json={"text": "厨房水管漏水"}, as_=resident)
    with counting(runtime) as opening:
        order = (await client.post(url, json={"text": "客厅的灯不亮"}, as_=resident)).json()
    with counting(runtime) as moving:
        moved = await client.post(f"{manager.place.url}/workorders/{order['id']}/accept", json={}, as_=manager)
    assert moved.status_code == 200, moved.text
    written = [one for one in (*opening, *moving) if one.lstrip().startswith(("INSERT", "UPDATE", "WITH"))]
    assert len(opening) <= 10, "\n\n".join(opening)
    assert len(moving) <= 10, "\n\n".join(moving)
    # Order, event and place in the line; audit; row and event; the message to the resident; audit.
    assert len(written) <= 5, "\n\n".join(written)
