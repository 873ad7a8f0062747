"""Communities, their settings, and changes that meet."""

import asyncio
from datetime import date, timedelta

import pytest
from sqlalchemy import update

from app.people import communities, community_settings
from app.people.community_settings import BUILT_IN, CHECKS, CommunitySettings, SettingsChange, merge_settings
from app.people.tables import Organisation, StaffRole
from app.runtime import Runtime
from tests.conftest import Client
from tests.make import Make, Person


def test_every_setting_can_be_overridden_has_words_and_a_value_that_fits():
    assert set(SettingsChange.model_fields) == set(BUILT_IN) == set(CommunitySettings.model_fields)
    assert set(CHECKS) <= set(BUILT_IN)
    for name, field in CommunitySettings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), f"{name}: end the sentence"
    unchanged = SettingsChange.model_validate(BUILT_IN)
    assert community_settings.stored(unchanged) == BUILT_IN


def test_community_wins_over_company_wins_over_built_in():
    merged = merge_settings({"assistant_name": "小和", "office_hours": "9-17", "other": 1}, {"office_hours": "8-20"})
    assert (merged.settings["office_hours"].value, merged.settings["office_hours"].source) == ("8-20", "community")
    assert (merged.settings["assistant_name"].value, merged.settings["assistant_name"].source) == (
        "小和",
        "organisation",
    )
    assert merged.settings["service_phone"].source == "built_in"
    assert set(merged.settings) == set(BUILT_IN)


async def test_staff_and_residents_list_their_communities(client: Client, make: Make, manager: Person, grant):
    sibling = await make.place(organisation_id=manager.tenant.organisation_id)
    await make.place()
    resident = await make.resident()
    mine = await client.get("/api/v1/communities", as_=manager)
    assert [row["id"] for row in mine.json()["items"]] == [str(manager.place.id)]
    await grant(manager, sibling)
    mine = await client.get("/api/v1/communities", as_=manager)
    assert {row["id"] for row in mine.json()["items"]} == {str(manager.place.id), str(sibling.id)}
    theirs = await client.get("/api/v1/communities", as_=resident)
    assert [row["id"] for row in theirs.json()["items"]] == [str(manager.place.id)]


async def test_change_needs_the_version_that_was_read(client: Client, manager: Person):
    url = manager.place.url
    etag = (await client.get(url, as_=manager)).headers["etag"]
    blind = await client.patch(url, json={"name": "新名"}, as_=manager)
    assert (blind.status_code, blind.json()["code"]) == (428, "if_match_missing")
    changed = await client.patch(url, json={"name": "新名"}, as_=manager, headers={"If-Match": etag})
    assert (changed.status_code, changed.json()["name"]) == (200, "新名")
    late = await client.patch(url, json={"name": "旧名"}, as_=manager, headers={"If-Match": etag})
    assert (late.status_code, late.json()["code"]) == (412, "version_changed")
    assert late.json()["facts"]["etag"] == changed.headers["etag"]
    for tags in ("W/{}", '"x", {}'):
        match = {"If-Match": tags.format(changed.headers["etag"])}
        changed = await client.patch(url, json={}, as_=manager, headers=match)
        assert changed.status_code == 200
    assert (await client.patch(url, json={}, as_=manager, headers={"If-Match": "*"})).status_code == 200


async def test_of_two_changes_at_once_one_is_made(client: Client, manager: Person):
    etag = (await client.get(manager.place.url, as_=manager)).headers["etag"]
    answers = await asyncio.gather(
        *(
            client.patch(manager.place.url, json={"name": f"名{n}"}, as_=manager, headers={"If-Match": etag})
            for n in range(4)
        )
    )
    assert sorted(answer.status_code for answer in answers) == [200, 412, 412, 412]


async def test_settings_are_overridden_and_given_back(client: Client, runtime: Runtime, manager: Person):
    url = f"{manager.place.url}/settings"
    async with runtime.transaction(manager.tenant) as session:
        await session.execute(update(Organisation).values(defaults={"service_phone": "400 100 100"}))
    shown = await client.get(url, as_=manager)
    assert shown.json()["settings"]["service_phone"] == {"value": "400 100 100", "source": "organisation"}
    changed = await client.patch(
        url, json={"service_phone": "021-555"}, as_=manager, headers={"If-Match": shown.headers["etag"]}
    )
    assert changed.json()["settings"]["service_phone"] == {"value": "021-555", "source": "community"}
    back = await client.patch(
        url, json={"service_phone": None}, as_=manager, headers={"If-Match": changed.headers["etag"]}
    )
    assert back.json()["settings"]["service_phone"]["source"] == "organisation"


@pytest.mark.parametrize("body", [{"timezone": "Mars/Base"}, {"slug": "mine"}, {"name": ""}, {"name": "x" * 101}, []])
async def test_bad_changes_are_refused(client: Client, manager: Person, body: object):
    answer = await client.patch(manager.place.url, json=body, as_=manager, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")


async def test_residents_and_engineers_change_nothing(client: Client, make: Make, manager: Person):
    for person in (await make.resident(), await make.staff(role=StaffRole.ENGINEER)):
        answer = await client.patch(manager.place.url, json={"name": "x"}, as_=person, headers={"If-Match": "*"})
        assert answer.status_code == 403
        assert (await client.get(manager.place.url, as_=person)).status_code == 200


async def test_features_read_typed_settings(client: Client, runtime: Runtime, manager: Person):
    body = {
        "dispatch_mode": "grab", "extra_holidays": ["2027-02-05"], "work_hours": {"sun": [], "mon": ["09:00-24:00"]},
        "triage_confidence_min": 1,
    }  # fmt: skip
    url = f"{manager.place.url}/settings"
    changed = await client.patch(url, json=body, as_=manager, headers={"If-Match": "*"})
    assert changed.status_code == 200, changed.text
    assert changed.json()["settings"]["dispatch_mode"] == {"value": "grab", "source": "community"}
    async with runtime.transaction(manager.tenant) as session:
        settings = await communities.read_settings(session, manager.place.id)
    assert (settings.dispatch_mode, settings.extra_holidays) == ("grab", [date(2027, 2, 5)])
    assert settings.work_hours.of(1) == [(timedelta(hours=9), timedelta(days=1))]
    assert settings.work_hours.of(7) == []
    assert settings.work_hours.tue == ["08:30-18:00"]
    assert settings.work_order_reopen_days == BUILT_IN["work_order_reopen_days"]


@pytest.mark.parametrize(
    ("body", "at"),
    [
        ({"dispatch_mode": "lottery"}, "body.dispatch_mode"),
        ({"triage_confidence_min": 1.1}, "body.triage_confidence_min"),
        ({"work_orders_per_day_max": 0}, "body.work_orders_per_day_max"),
        ({"work_orders_per_day_max": "many"}, "body.work_orders_per_day_max"),
        ({"gas_company_phone": "call them"}, "body.gas_company_phone"),
        ({"extra_holidays": ["2027-02-30"]}, "body.extra_holidays.0"),
        ({"work_hours": {"mon": ["9-17"]}}, "body.work_hours.mon.0"),
        ({"work_hours": {"monday": []}}, "body.work_hours.monday"),
        ({"colour": "green"}, "body.colour"),
    ],
)
async def test_a_setting_out_of_bounds_is_named_and_nothing_is_changed(
    client: Client, manager: Person, body: dict[str, object], at: str
):
    url = f"{manager.place.url}/settings"
    answer = await client.patch(url, json={"work_order_reopen_days": 3, **body}, as_=manager, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json()["code"]) == (422, "request_invalid")
    assert [one["at"] for one in answer.json()["facts"]["errors"]] == [at]
    assert (await client.get(url, as_=manager)).json()["settings"]["work_order_reopen_days"]["source"] == "built_in"


@pytest.mark.parametrize(
    "body",
    [
        {"work_hours": {"mon": ["12:00-08:00"]}},
        {"work_hours": {"mon": ["08:00-12:00", "11:00-17:00"]}},
        {"work_hours": {"sun": ["08:00-24:30"]}},
        {"quiet_hours": "22:00-22:00"},
    ],
)
async def test_hours_that_make_no_sense_are_refused_in_words(client: Client, manager: Person, body: dict[str, object]):
    answer = await client.patch(f"{manager.place.url}/settings", json=body, as_=manager, headers={"If-Match": "*"})
    assert (answer.status_code, answer.json()["code"]) == (422, "setting_invalid")
    assert answer.json()["facts"]["setting"] == next(iter(body))
    assert set(answer.json()["messages"]) == {"zh", "en"}


async def test_values_an_older_version_let_in_do_not_break_the_settings(
    runtime: Runtime, client: Client, manager: Person
):
    async with runtime.transaction(manager.tenant) as session:
        await session.execute(
            update(Organisation).values(defaults={"dispatch_mode": "by dice", "work_order_reopen_days": 14})
        )
    shown = (await client.get(f"{manager.place.url}/settings", as_=manager)).json()["settings"]
    assert shown["dispatch_mode"] == {"value": "dispatch", "source": "built_in"}
    assert shown["work_order_reopen_days"] == {"value": 14, "source": "organisation"}
    async with runtime.transaction(manager.tenant) as session:
        assert (await communities.read_settings(session, manager.place.id)).dispatch_mode == "dispatch"
