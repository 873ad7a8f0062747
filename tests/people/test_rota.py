"""Skills, shifts and the on-call rota: who is there, and who is rung first."""

from datetime import UTC, date, datetime, time
from typing import Any

import pytest

from app.people import callers, recurring, rota, shifts
from app.people.tables import StaffRole, StaffShift
from app.runtime import Runtime
from tests.conftest import Client
from tests.make import Make, Person

SUNDAY_NIGHT = "2026-11-22T23:30:00+08:00"


async def post(client: Client, by: Person, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(f"{by.place.url}/{path}", json=body, as_=by)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def there(client: Client, by: Person, path: str, at: str | None = None) -> list[str]:
    answer = await client.get(f"{by.place.url}/{path}", params={"at": at} if at else {}, as_=by)
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json()["staff"]]


async def test_colleague_has_title_phone_and_skills(client: Client, manager: Person):
    url = f"{manager.place.url}/staff"
    body = {"name": "石开山", "login": "shi@repair", "roles": ["engineer"], "title": "工程主管", "phone": "15400000610"}
    member = await post(client, manager, "staff", **body, skills=["plumbing", "lift", "plumbing"])
    assert (member["title"], member["phone"], member["skills"]) == ("工程主管", "15400000610", ["lift", "plumbing"])
    headers = {"If-Match": (await client.get(f"{url}/{member['id']}", as_=manager)).headers["etag"]}
    changed = await client.patch(f"{url}/{member['id']}", json={"skills": ["locks"]}, as_=manager, headers=headers)
    assert (changed.json()["skills"], changed.json()["title"]) == (["locks"], "工程主管")
    unknown = await client.patch(
        f"{url}/{member['id']}", json={"skills": ["magic"]}, as_=manager, headers={"If-Match": "*"}
    )
    assert unknown.status_code == 422


async def test_front_desk_sees_who_is_at_work_now(client: Client, make: Make, manager: Person):
    desk = await make.staff(role=StaffRole.FRONT_DESK, name="林若溪")
    engineer = await make.staff(role=StaffRole.ENGINEER, name="张砚舟")
    # A community that keeps no shifts cannot tell who is away.
    assert len(await there(client, desk, "on-shift")) == 3
    day = {"weekdays": [7], "from_time": "08:30", "to_time": "18:00"}
    await post(client, manager, "shifts", staff_id=str(desk.id), **day)
    await post(client, manager, "shifts", staff_id=str(engineer.id), from_time="20:00", to_time="08:00")
    assert await there(client, desk, "on-shift") == ["林若溪"]
    assert await there(client, desk, "on-shift", SUNDAY_NIGHT) == ["张砚舟"]
    assert await there(client, desk, "on-shift", "2026-11-23T07:59:00+08:00") == ["张砚舟"]
    assert await there(client, desk, "on-shift", "2026-11-23T09:00:00+08:00") == []


async def test_leave_on_one_day_takes_that_day_out_of_the_week(client: Client, make: Make, manager: Person):
    engineer = await make.staff(role=StaffRole.ENGINEER, name="温立")
    await make.shift(engineer, "08:00", "17:00")
    today = {"from_date": "2026-11-22", "to_date": "2026-11-22", "from_time": "00:00", "to_time": "00:00"}
    leave = await post(client, manager, "shifts", staff_id=str(engineer.id), off=True, note="请假", **today)
    assert await there(client, manager, "on-shift") == []
    assert await there(client, manager, "on-shift", "2026-11-23T10:00:00+08:00") == ["温立"]
    assert (await client.delete(f"{manager.place.url}/shifts/{leave['id']}", as_=manager)).status_code == 204
    assert await there(client, manager, "on-shift") == ["温立"]


async def test_shift_is_changed_from_the_version_read_and_filtered_by_person(
    client: Client, make: Make, manager: Person
):
    engineer = await make.staff(role=StaffRole.ENGINEER)
    await make.shift(manager)
    shift = await post(client, manager, "shifts", staff_id=str(engineer.id), from_time="08:00", to_time="17:00")
    url = f"{manager.place.url}/shifts"
    etag = (await client.get(f"{url}/{shift['id']}", as_=engineer)).headers["etag"]
    body = {"to_time": "12:00", "weekdays": [2, 1, 2], "note": "半天"}
    changed = await client.patch(f"{url}/{shift['id']}", json=body, as_=manager, headers={"If-Match": etag})
    assert changed.json() == shift | {"to_time": "12:00", "weekdays": [1, 2], "note": "半天"}
    late = await client.patch(f"{url}/{shift['id']}", json={"note": ""}, as_=manager, headers={"If-Match": etag})
    assert late.status_code == 412
    every_day = await client.patch(
        f"{url}/{shift['id']}", json={"weekdays": None}, as_=manager, headers={"If-Match": "*"}
    )
    assert every_day.json()["weekdays"] is None
    listed = await client.get(url, params={"filter[staff_id]": str(engineer.id)}, as_=engineer)
    assert [row["id"] for row in listed.json()["items"]] == [shift["id"]]
    refused = await client.patch(f"{url}/{shift['id']}", json={"note": "x"}, as_=engineer, headers={"If-Match": "*"})
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")


async def test_rota_is_rung_level_by_level_and_everybody_once(client: Client, make: Make, manager: Person):
    people = {name: await make.staff(role=StaffRole.ENGINEER, name=name) for name in ("甲", "乙", "丙")}
    for name, level in (("丙", 3), ("甲", 1), ("乙", 2), ("甲", 3)):
        day = {"from_time": "00:00", "to_time": "00:00"}
        await post(client, manager, "rota", staff_id=str(people[name].id), level=level, **day)
    assert await there(client, people["丙"], "on-call") == ["甲", "乙", "丙"]
    # Who left the community is not rung, and their entries are gone.
    await client.put(f"{manager.place.url}/staff/{people['乙'].id}/rights", json={"roles": []}, as_=manager)
    assert await there(client, manager, "on-call") == ["甲", "丙"]
    assert len((await client.get(f"{manager.place.url}/rota", as_=manager)).json()["items"]) == 3


async def test_who_is_on_call_changes_with_the_day_and_the_hour(client: Client, make: Make, manager: Person):
    day, night = [await make.staff(role=StaffRole.ENGINEER, name=name) for name in ("白班", "夜班")]
    await make.on_call(day, 1, "08:00", "20:00", weekdays=[7])
    await make.on_call(night, 1, "20:00", "08:00", from_date=date(2026, 11, 22), to_date=date(2026, 11, 22))
    assert await there(client, manager, "on-call") == ["白班"]
    assert await there(client, manager, "on-call", SUNDAY_NIGHT) == ["夜班"]
    assert await there(client, manager, "on-call", "2026-11-23T07:00:00+08:00") == ["夜班"]


async def test_a_rota_with_nobody_rings_the_managers(client: Client, make: Make, manager: Person):
    engineer = await make.staff(role=StaffRole.ENGINEER, name="甲")
    assert await there(client, manager, "on-call") == ["员工"]
    entry = await make.on_call(engineer)
    assert await there(client, manager, "on-call") == ["甲"]
    url = f"{manager.place.url}/staff/{engineer.id}/account"
    assert (await client.put(url, json={"disabled": True}, as_=manager)).status_code == 200
    assert await there(client, manager, "on-call") == ["员工"], "an account that was closed does not answer"
    url = f"{manager.place.url}/rota/{entry}"
    changed = await client.patch(url, json={"level": 2}, as_=manager, headers={"If-Match": "*"})
    assert changed.json()["level"] == 2
    assert (await client.delete(url, as_=manager)).status_code == 204


async def test_an_hour_that_the_clock_shows_twice_is_worked_twice(client: Client, make: Make, manager: Person):
    zone = {"timezone": "America/New_York"}
    assert (await client.patch(manager.place.url, json=zone, as_=manager, headers={"If-Match": "*"})).status_code == 200
    engineer = await make.staff(role=StaffRole.ENGINEER, name="甲")
    await make.shift(engineer, "01:00", "02:00", weekdays=[7], from_date=date(2026, 11, 1))
    for at in ("2026-11-01T05:30:00Z", "2026-11-01T06:30:00Z"):  # 01:30 in summer time, and again in winter time
        assert await there(client, manager, "on-shift", at) == ["甲"], at
    assert await there(client, manager, "on-shift", "2026-11-01T07:00:00Z") == []
    await make.shift(engineer, "02:30", "04:00", weekdays=[7], from_date=date(2026, 3, 8), to_date=date(2026, 3, 8))
    # There is no 02:30 on this day: the shift begins when the clock jumps to 03:00.
    assert await there(client, manager, "on-shift", "2026-03-08T06:59:00Z") == []
    assert await there(client, manager, "on-shift", "2026-03-08T07:00:00Z") == ["甲"]


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"from_date": "2026-12-02", "to_date": "2026-12-01"}, 422, "dates_reversed"),
        ({"from_time": "8:00"}, 422, "request_invalid"),
        ({"to_time": "24:00"}, 422, "request_invalid"),
        ({"weekdays": [0]}, 422, "request_invalid"),
        ({"weekdays": []}, 422, "request_invalid"),
        ({"staff_id": "0197aa00-0000-7000-8000-000000000000"}, 404, "staff_not_found"),
    ],
)
async def test_bad_shifts_are_refused(client: Client, manager: Person, change: dict[str, Any], status: int, code: str):
    body = {"staff_id": str(manager.id), "from_time": "08:00", "to_time": "17:00", **change}
    for path in ("shifts", "rota"):
        answer = await client.post(f"{manager.place.url}/{path}", json=body, as_=manager)
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


@pytest.mark.parametrize("at", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+08:00"])
async def test_a_moment_off_the_calendar_is_refused(client: Client, manager: Person, at: str):
    answer = await client.get(f"{manager.place.url}/on-call", params={"at": at}, as_=manager)
    assert (answer.status_code, answer.json()["code"]) == (422, "moment_out_of_range")


async def test_jobs_ask_without_a_caller(make: Make, manager: Person, runtime: Runtime):
    await make.on_call(manager)
    await make.shift(manager, "08:00", "17:00")
    tenant = await callers.tenant_of_community(runtime, manager.place.id)
    async with runtime.transaction(tenant) as session:
        assert await rota.on_call(session, manager.place.id, runtime.clock()) == [manager.id]
        assert await shifts.on_shift(session, manager.place.id, runtime.clock()) == {manager.id}
        assert await shifts.are_kept(session, manager.place.id)


@pytest.mark.parametrize(
    ("begins", "ends", "days", "now", "inside"),
    [
        ("08:00", "17:00", None, (22, 8, 0), True),
        ("08:00", "17:00", None, (22, 17, 0), False),
        ("20:00", "08:00", [7], (22, 19, 59), False),
        ("20:00", "08:00", [7], (22, 20, 0), True),
        ("20:00", "08:00", [7], (23, 7, 59), True),
        ("20:00", "08:00", [7], (23, 8, 0), False),
        ("00:00", "00:00", [7], (22, 0, 0), True),
        ("00:00", "00:00", [7], (22, 23, 59), True),
        ("00:00", "00:00", [7], (23, 0, 0), False),
        ("00:00", "00:00", [7], (21, 23, 59), False),
    ],
)
def test_when_a_pattern_holds(begins: str, ends: str, days: list[int] | None, now: tuple[int, int, int], inside: bool):
    pattern = StaffShift(weekdays=days, from_time=time.fromisoformat(begins), to_time=time.fromisoformat(ends))
    assert recurring.covers(pattern, datetime(2026, 11, *now, tzinfo=UTC)) is inside
