"""Orders find their staff after triage: given, offered, in turns; and when nobody is found, it is said."""

import asyncio

from sqlalchemy import update

from app.people.tables import StaffRole
from app.queue import Lease
from app.service_desk import assigning, duty_jobs
from app.service_desk.tables import WorkOrder
from tests.service_desk.duties import Desk


async def test_a_triaged_order_goes_to_who_suits_best_once_and_says_why(desk: Desk, run_jobs):
    plumber, electrician = await desk.plumber(), await desk.plumber("electrical")
    order = await desk.triaged()
    await run_jobs()
    seen = await desk.seen(order)
    assert (seen["status"], seen["assignee_id"]) == ("dispatched", str(plumber.id))
    row = await desk.row(order)
    assert row.why is not None
    why = row.why["staffing"]
    assert why["staff_id"] == str(plumber.id)
    assert "具备技能：水暖" in why["zh"]
    assert {one["staff_id"]: one["reason"] for one in why["out"]}[str(electrician.id)] == "skill"
    assert [event["to_status"] for event in await desk.events(order, "moved")] == ["dispatched"]
    assert (await desk.told(plumber), await desk.told(electrician)) == (["workorder.assigned"], [])
    assert await desk.told(order.reporter) == ["workorder.moved"]


async def test_work_is_spread_over_equals(desk: Desk, run_jobs):
    # So many like reports are no incident here.
    await desk.setting(incident_reports_min=100)
    people = [await desk.plumber() for _ in range(3)]
    for _ in range(6):
        await desk.triaged()
        await run_jobs()
    assert [len(await desk.told(one)) for one in people] == [2, 2, 2]


async def test_an_order_below_the_confidence_waits_for_a_person(desk: Desk, run_jobs):
    await desk.plumber()
    order = await desk.triaged(needs_person=True)
    await run_jobs()
    assert (await desk.seen(order))["status"] == "submitted"


async def test_when_nobody_is_at_work_who_is_on_call_gets_it(desk: Desk, run_jobs):
    asleep, on_call = await desk.plumber(shift=False), await desk.plumber(shift=False)
    await desk.make.shift(asleep, "03:00", "04:00")
    await desk.make.on_call(on_call)
    order = await desk.triaged()
    await run_jobs()
    assert (await desk.seen(order))["assignee_id"] == str(on_call.id)


async def test_when_nobody_can_come_the_desk_is_told_and_the_order_says_so(desk: Desk, run_jobs):
    await desk.plumber("electrical")
    desk_person = await desk.make.staff(role=StaffRole.FRONT_DESK)
    order = await desk.triaged()
    await run_jobs()
    seen = await desk.seen(order)
    assert (seen["status"], seen["needs_person"]) == ("submitted", True)
    (said,) = await desk.events(order, "left_to_person")
    assert "等待人工派单" in said["note"]
    assert await desk.told(desk_person) == ["workorder.left_to_person"]
    await duty_jobs.sweep_unassigned(desk.runtime)
    assert await run_jobs() == 0, "it is not tried over and over"


async def test_a_building_limit_keeps_staff_in_their_building(desk: Desk, run_jobs):
    here, elsewhere = await desk.plumber(), await desk.plumber()
    order = await desk.make.work_order()
    building = (await desk.row(order)).building_id
    other = await desk.make.building()
    url = f"{desk.manager.place.url}/staff"
    for person, area in ((here, building), (elsewhere, other)):
        put = await desk.client.put(f"{url}/{person.id}/areas", json={"space_ids": [str(area)]}, as_=desk.manager)
        assert put.status_code == 200, put.text
    await desk.triage(order)
    await run_jobs()
    assert (await desk.seen(order))["assignee_id"] == str(here.id)
    got = await desk.client.get(f"{url}/{here.id}/areas", as_=desk.manager)
    assert got.json() == {"space_ids": [str(building)]}
    refused = await desk.client.put(f"{url}/{here.id}/areas", json={"space_ids": []}, as_=here)
    assert refused.status_code == 403


async def test_an_offered_order_is_grabbed_by_one_and_the_other_is_told_who(desk: Desk, run_jobs):
    await desk.setting(dispatch_mode="grab", grab_minutes=10)
    people = [await desk.plumber() for _ in range(4)]
    order = await desk.triaged()
    await run_jobs()
    assert (await desk.seen(order))["status"] == "submitted"
    (offer,) = await desk.events(order, "offered")
    assert sorted(offer["facts"]["offered_to"]) == sorted(str(one.id) for one in people)
    assert [await desk.told(one) for one in people] == [["workorder.offered"]] * 4
    answers = await asyncio.gather(*(desk.post(order, "accept", one) for one in people))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
    desk.later(minutes=11)
    await duty_jobs.sweep_unassigned(desk.runtime)
    await run_jobs()
    assert (await desk.seen(order))["status"] == "accepted", "what was grabbed is not given away"


async def test_what_nobody_grabs_is_given_to_somebody(desk: Desk, run_jobs):
    await desk.setting(dispatch_mode="grab", grab_minutes=10)
    plumber = await desk.plumber()
    order = await desk.triaged()
    await run_jobs()
    desk.later(minutes=9)
    await duty_jobs.sweep_unassigned(desk.runtime)
    assert await run_jobs() == 0
    desk.later(minutes=2)
    await duty_jobs.sweep_unassigned(desk.runtime)
    await run_jobs()
    seen = await desk.seen(order)
    assert (seen["status"], seen["assignee_id"]) == ("dispatched", str(plumber.id))


async def test_in_rotation_everybody_has_their_turn_however_busy(desk: Desk, run_jobs):
    await desk.setting(dispatch_mode="rotation", incident_reports_min=100)
    people = [await desk.plumber() for _ in range(3)]
    got = []
    for _ in range(6):
        order = await desk.triaged()
        await run_jobs()
        desk.later(minutes=1)
        got.append((await desk.seen(order))["assignee_id"])
    assert got[:3] == got[3:]
    assert set(got) == {str(one.id) for one in people}


async def test_two_workers_with_the_same_order_give_it_to_one(desk: Desk):
    people = [await desk.plumber() for _ in range(3)]
    order = await desk.triaged()
    leases = [one for one in await desk.runtime.queue.take(20, wait_seconds=0) if one.job.name == "service_desk.assign"]
    assert len(leases) == 1
    again = Lease(leases[0].job, token=leases[0].token + 1, attempt=2)
    await asyncio.gather(*(duty_jobs.assign_order(desk.runtime, one) for one in (*leases, again, again)))
    assert [event["to_status"] for event in await desk.events(order, "moved")] == ["dispatched"]
    assert sum([len(await desk.told(one)) for one in people]) == 1


async def test_when_redis_forgot_the_job_the_sweep_finds_the_order(desk: Desk, run_jobs):
    plumber = await desk.plumber()
    order = await desk.triaged()
    await desk.runtime.redis.flushall()
    await duty_jobs.sweep_unassigned(desk.runtime)
    await run_jobs()
    assert (await desk.seen(order))["assignee_id"] == str(plumber.id)


async def test_a_returned_order_waits_for_the_desk_and_a_reopened_one_is_given_anew(desk: Desk, run_jobs):
    plumber = await desk.plumber()
    order = await desk.triaged()
    await run_jobs()
    assert (await desk.post(order, "return", plumber, note="缺配件")).status_code == 200
    await run_jobs()
    seen = await desk.seen(order)
    assert (seen["status"], seen["assignee_id"], seen["needs_person"]) == ("returned", None, True)
    assert "workorder.returned" in await desk.told(desk.manager)


async def test_a_complaint_never_goes_to_whom_it_is_about(desk: Desk, run_jobs):
    about = await desk.plumber("front_desk")
    order = await desk.make.work_order(about_staff_id=about.id)
    await desk.triage(order, "staff_conduct")
    await run_jobs()
    row = await desk.row(order)
    assert row.assignee_id is None
    assert await desk.told(about) == []


async def test_an_order_is_not_given_to_anybody_after_it_was_cancelled(desk: Desk):
    await desk.plumber()
    order = await desk.triaged()
    async with desk.runtime.transaction(order.place.tenant) as session:
        await session.execute(update(WorkOrder).where(WorkOrder.id == order.id).values(status="cancelled"))
    await assigning.assign(desk.runtime, order.place.tenant, order.id)
    assert (await desk.row(order)).assignee_id is None


async def test_the_communitys_own_rules_come_first_and_are_named_as_the_reason(desk: Desk, run_jobs):
    """Which skill, whom, and how: by category and building, the narrowest rule first."""
    await desk.setting(incident_reports_min=100)
    client, url = desk.client, f"{desk.manager.place.url}/assignment-rules"
    plumber, porter = await desk.plumber(), await desk.plumber("security", shift=False)
    first = await desk.triaged()
    await run_jobs()
    assert (await desk.seen(first))["assignee_id"] == str(plumber.id)
    listed = await client.get(f"{desk.manager.place.url}/workorder-categories?limit=100", as_=desk.manager)
    tree = {one["code"]: one for one in listed.json()["items"]}
    above = tree["plumbing"]["parent_category_id"]

    async def ruled(**body) -> dict[str, str]:
        answer = await client.post(url, json=body, as_=desk.manager)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def assigned() -> tuple[str | None, str]:
        order = await desk.triaged()
        await run_jobs()
        seen = await desk.seen(order)
        return seen["assignee_id"], seen["why"]["staffing"]["zh"]

    wide = await ruled(category_id=above, staff_id=str(porter.id), skill="security")
    whom, why = await assigned()
    assert (whom, "指定的人现在不能处理" in why) == (None, True), "the porter is not at work"
    await desk.make.shift(porter)
    assert await assigned() == (str(porter.id), "派给员工：本小区规则指定由此人处理。")
    narrow = await ruled(category_id=tree["plumbing"]["id"], mode="rotation")
    whom, why = await assigned()
    assert (whom, "按本小区派单规则" in why, "轮到此人接单" in why) == (str(plumber.id), True, True)
    again = await client.post(url, json={"category_id": above, "mode": "grab"}, as_=desk.manager)
    assert (again.status_code, again.json()["code"]) == (409, "assignment_rule_exists")
    read = await client.get(f"{url}/{narrow['id']}", as_=plumber)
    change = {"json": {"mode": None}, "headers": {"If-Match": read.headers["ETag"]}, "as_": desk.manager}
    assert (await client.patch(f"{url}/{narrow['id']}", **change)).json()["code"] == "assignment_rule_empty"
    for who in (plumber, first.reporter):
        assert (await client.delete(f"{url}/{narrow['id']}", as_=who)).status_code == 403
    assert (await client.delete(f"{url}/{narrow['id']}", as_=desk.manager)).status_code == 204
    assert (await assigned())[0] == str(porter.id)
    assert [one["id"] for one in (await client.get(url, as_=plumber)).json()["items"]] == [wide["id"]]
