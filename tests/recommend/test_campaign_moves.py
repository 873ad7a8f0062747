"""What campaigns are refused, and what holds when a worker dies, the night falls or somebody has enough."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select, text

from app.notices.tables import ChannelKind, Message, NoticeChannel
from app.people.tables import StaffRole
from app.queue import HANDLERS, Lease
from app.recommend import campaign_sending, campaigns
from app.recommend.campaign_jobs import sweep_due_campaigns
from app.recommend.campaign_tables import CAMPAIGN_MOVES, CampaignStatus, RecipientStatus
from app.recommend.campaign_unsubscribe import token
from app.runtime import Runtime
from tests.conftest import NOW, Client, Clock
from tests.make import Make, Person
from tests.recommend.campaigning import (
    TEXTS,
    add_item,
    get,
    move,
    open_campaign,
    recipients,
    send_now,
    told,
)


def code(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_every_status_has_its_moves():
    assert set(CAMPAIGN_MOVES) == set(CampaignStatus)
    reached = {status for moves in CAMPAIGN_MOVES.values() for status in moves}
    assert reached == set(CampaignStatus) - {CampaignStatus.DRAFT}


async def test_what_a_campaign_is_refused(client: Client, make: Make, runtime: Runtime, run_jobs: Any):
    manager, desk = await make.staff(), await make.staff(role=StaffRole.FRONT_DESK)
    resident = await make.resident()
    item, full = await add_item(runtime, manager.place), await add_item(runtime, manager.place, capacity=0)
    foreign = await add_item(runtime, (await make.resident(place=await make.place())).place)
    url = f"{manager.place.url}/campaigns"

    # SQL in a filter, a deep one, what others own, and rights.
    evil = {"is": "did", "what": ["joined"], "within_days": 7, "category": "x'; DROP TABLE residents; --"}
    deep: Any = {"is": "lives"}
    for _ in range(200):
        deep = {"not": deep}
    for bad in (evil, deep, {"sql": "SELECT 1"}, {"is": "lives", "roles": ["owner' OR '1'='1"]}):
        answer = await client.post(url, json={"name": "x", "filter": bad}, as_=manager)
        assert code(answer) == (422, "campaign_filter_invalid")
        assert "DROP" not in answer.text
    named_by_others: tuple[dict[str, Any], ...] = (
        {"item_ids": [str(foreign)]}, {"filter": {"is": "lives", "space_ids": [str(uuid4())]}},
        {"filter": {"is": "did", "what": ["joined"], "within_days": 7, "item_id": str(foreign)}},
    )  # fmt: skip
    for body in named_by_others:
        assert (await client.post(url, json={"name": "x"} | body, as_=manager)).status_code == 404
    twice: list[dict[str, Any]] = [{"holdout_percent": 60}, {"cap_messages": 1}, {"variants": [{}, {"label": "A"}]}]
    for body in twice:
        assert (await client.post(url, json={"name": "x"} | body, as_=manager)).status_code == 422
    assert code(await client.post(url, json={"name": "x"}, as_=desk)) == (403, "scope_missing")
    assert code(await client.get(url, as_=resident)) == (403, "scope_missing")
    async with runtime.transaction(manager.tenant) as session:
        assert await session.scalar(text("SELECT count(*) FROM residents")) == 1, "nothing was dropped"

    # Only what a person approved is sent, only what stands in the facts is approved.
    campaign = await open_campaign(client, manager, items=[item], holdout_percent=0)
    assert code(await move(client, manager, campaign, "send")) == (409, "campaign_copy_not_approved")
    key = await make.api_key("campaigns:write")
    assert code(await client.post(f"{url}/{campaign['id']}/approve", as_=key)) == (409, "campaign_person_must_approve")
    wrong = {"variants": [{"label": "A", "texts": TEXTS | {"body_zh": "全市最佳烘焙，仅需25元，保证学会！"}}]}
    changed = await patch(client, manager, campaign, '"1"', wrong)
    assert changed.status_code == 200
    refused = await move(client, manager, campaign, "approve")
    assert code(refused) == (409, "campaign_copy_refused")
    problems = {(one["variant"], one["field"], one["code"]) for one in refused.json()["facts"]["problems"]}
    assert problems == {("A", "body_zh", one) for one in ("not_in_facts", "absolute_term", "guarantee")}
    assert code(await patch(client, manager, campaign, '"1"', {"name": "y"})) == (412, "version_changed")
    assert (await client.patch(f"{url}/{campaign['id']}", json={}, as_=manager)).status_code == 428
    good = {"variants": [{"label": "A", "texts": TEXTS}]}
    assert (await patch(client, manager, campaign, changed.headers["etag"], good)).status_code == 200
    assert (await move(client, manager, campaign, "approve")).status_code == 200

    # Past and impossible times; what is full; nobody; the same campaign twice; changes too late.
    for said, expected in (
        ("2026-11-22T09:59", "campaign_schedule_past"), ("2026-11-31T10:00", "campaign_schedule_no_such_time"),
    ):  # fmt: skip
        assert code(await move(client, manager, campaign, "schedule", local_time=said)) == (422, expected)
    for_full = await open_campaign(client, manager, items=[full])
    await move(client, manager, for_full, "approve")
    assert code(await move(client, manager, for_full, "send")) == (409, "campaign_item_not_available")
    lonely = await open_campaign(client, manager, items=[item], filter={"is": "language", "languages": ["en"]})
    await move(client, manager, lonely, "approve")
    preview = (await move(client, manager, lonely, "preview")).json()
    assert (preview["nobody"], preview["recipients"]) == (True, 0)
    assert code(await move(client, manager, lonely, "send")) == (409, "campaign_for_nobody")
    assert (await move(client, manager, campaign, "send")).status_code == 202
    again = await move(client, manager, campaign, "send")
    assert code(again) == (409, "campaign_move_not_allowed")
    assert again.json()["facts"]["allowed"] == ["cancelled", "paused", "sent"]
    await run_jobs()
    assert code(await move(client, manager, campaign, "send")) == (409, "campaign_move_not_allowed")
    assert code(await patch(client, manager, campaign, "*", {"name": "y"})) == (409, "campaign_not_editable")
    assert code(await client.delete(f"{url}/{campaign['id']}", as_=manager)) == (409, "campaign_under_way")
    assert (await client.delete(f"{url}/{lonely['id']}", as_=manager)).status_code == 204
    assert len(await told(client, resident)) == 1

    # A campaign to one household: sent, and no figure of it.
    results = await get(client, manager, campaign, "/results")
    assert [(one["arm"], one["hidden"], one["sent"]) for one in results["arms"]] == [
        ("A", True, None), ("told", True, None)
    ]  # fmt: skip


async def patch(client: Client, manager: Person, campaign: dict[str, Any], etag: str, body: dict[str, Any]) -> Any:
    url = f"{manager.place.url}/campaigns/{campaign['id']}"
    return await client.patch(url, json=body, headers={"If-Match": etag}, as_=manager)


async def test_a_killed_worker_is_followed_by_another_and_nobody_is_told_twice(
    client: Client, make: Make, runtime: Runtime, run_jobs: Any, monkeypatch: pytest.MonkeyPatch
):
    manager, building = await make.staff(), await make.building()
    people = [await make.resident(building_id=building) for _ in range(9)]
    item = await add_item(runtime, manager.place)
    variants = [{"label": label, "share": 50, "texts": TEXTS | {"title_zh": f"烘焙{label}"}} for label in "AB"]
    campaign = await open_campaign(client, manager, items=[item], holdout_percent=0, variants=variants)
    await send_now(client, manager, campaign)
    [lease] = await runtime.queue.take(1, wait_seconds=0)
    monkeypatch.setattr(campaign_sending, "RESIDENTS_PER_TRANSACTION", 4)
    batches = 0
    tell = campaign_sending._tell

    class Killed(BaseException):
        """As when the process goes: nothing of ours catches it."""

    async def die_in_the_second_batch(*args: Any) -> Any:
        nonlocal batches
        batches += 1
        done = await tell(*args)
        if batches == 2:
            raise Killed
        return done

    monkeypatch.setattr(campaign_sending, "_tell", die_in_the_second_batch)
    with pytest.raises(Killed):
        await HANDLERS[campaigns.SEND](runtime, lease)
    assert len(await recipients(runtime, manager.place, campaign["id"])) == 4, "the batch under way never happened"
    await runtime.queue.finish(lease)
    await sweep_due_campaigns(runtime)
    await run_jobs()
    await HANDLERS[campaigns.SEND](runtime, Lease(lease.job, lease.token, 1))
    rows = await recipients(runtime, manager.place, campaign["id"])
    assert {row.status for row in rows.values()} == {RecipientStatus.SENT}
    for person in people:
        [message] = await told(client, person)
        assert message["title"]["zh"] == f"烘焙{rows[person.id].arm}"
    assert (await get(client, manager, campaign))["status"] == "sent"


async def test_two_campaigns_sent_at_once_keep_to_the_cap_of_each_person(
    client: Client, make: Make, runtime: Runtime, run_jobs: Any
):
    manager, people = await make.staff(), [await make.resident() for _ in range(12)]
    await client.patch(
        f"{manager.place.url}/settings", json={"campaign_cap_messages": 1}, headers={"If-Match": "*"}, as_=manager
    )
    item = await add_item(runtime, manager.place)
    both = [await open_campaign(client, manager, items=[item], holdout_percent=0) for _ in range(2)]
    for campaign in both:
        await send_now(client, manager, campaign)
    leases = await runtime.queue.take(2, wait_seconds=0)
    await asyncio.gather(*(HANDLERS[campaigns.SEND](runtime, lease) for lease in leases for _ in range(2)))
    assert [len(await told(client, person)) for person in people] == [1] * 12
    rows = [await recipients(runtime, manager.place, campaign["id"]) for campaign in both]
    statuses = [Counter(row.status for row in one.values()) for one in rows]
    assert sum(statuses, Counter()) == {RecipientStatus.SENT: 12, RecipientStatus.LEFT_OUT: 12}


async def test_at_night_everything_waits_and_who_opts_out_meanwhile_is_not_told(
    client: Client, make: Make, runtime: Runtime, run_jobs: Any, clock: Clock
):
    manager, one, other, third = await make.staff(), *[await make.resident() for _ in range(3)]
    item = await add_item(runtime, manager.place)
    async with runtime.transaction(manager.tenant) as session:
        for kind in (ChannelKind.EMAIL, ChannelKind.PHONE):
            session.add(
                NoticeChannel(
                    community_id=manager.place.id, kind=kind, name="x", url="", sealed_secret="", use="all",
                    audience="residents", enabled=True,
                )
            )  # fmt: skip
    campaign = await open_campaign(client, manager, items=[item], holdout_percent=0)
    await move(client, manager, campaign, "approve")
    scheduled = await move(client, manager, campaign, "schedule", local_time="2026-11-22T23:30")
    assert (scheduled.json()["send_at"], scheduled.json()["send_at_local"]) == (
        "2026-11-22T15:30:00Z",
        "2026-11-22T23:30",
    )
    preview = (await move(client, manager, campaign, "preview")).json()
    assert (preview["quiet"], preview["leaves_at"]) == (True, "2026-11-22T23:00:00Z")
    await sweep_due_campaigns(runtime)
    assert await run_jobs() == 0, "it is not due yet"

    clock.now = NOW + timedelta(hours=14)
    await sweep_due_campaigns(runtime)
    assert await run_jobs() > 0
    assert (await get(client, manager, campaign))["status"] == "sending"
    assert await recipients(runtime, manager.place, campaign["id"]) == {}, "nothing is written at night"

    # One unsubscribes by the link, with one tap and not signed in; looking at the page does nothing; another in the app.
    link = f"/api/v1/unsubscribe?t={token(runtime, manager.place.id, one.id)}"
    assert "<button>" in (await client.get(link)).text
    assert code(await client.get(link[:-3] + "AAA")) == (404, "unsubscribe_link_invalid")
    for said in ({}, {"List-Unsubscribe": "One-Click"}):  # by the page's button, and by that of a mail program
        assert (await client.post(link, data=said)).status_code == 200
    assert (await client.post("/api/v1/me/campaigns/unsubscribe", as_=other)).json() == {"unsubscribed": True}

    clock.now = NOW + timedelta(hours=21, minutes=5)
    await sweep_due_campaigns(runtime)
    await run_jobs()
    rows = await recipients(runtime, manager.place, campaign["id"])
    assert {who: row.status for who, row in rows.items()} == {
        one.id: RecipientStatus.LEFT_OUT, other.id: RecipientStatus.LEFT_OUT, third.id: RecipientStatus.SENT
    }  # fmt: skip
    assert [len(await told(client, person)) for person in (one, other, third)] == [0, 0, 1]
    async with runtime.transaction(manager.tenant) as session:
        [leave_link] = await session.scalars(select(Message.leave_link).where(Message.person_id == third.id))
    assert leave_link.endswith(f"/api/v1/unsubscribe?t={token(runtime, manager.place.id, third.id)}")
    listed = await client.get(f"{manager.place.url}/message-deliveries", as_=manager)
    assert [row["kind"] for row in listed.json()["items"]] == ["email"], "nobody's telephone rings for this"


async def test_who_opts_out_in_the_profile_gets_nothing_that_has_not_left_yet(
    client: Client, make: Make, runtime: Runtime
):
    manager, stays, leaves = await make.staff(), await make.resident(), await make.resident()
    item = await add_item(runtime, manager.place)
    async with runtime.transaction(manager.tenant) as session:
        session.add(
            NoticeChannel(
                community_id=manager.place.id, kind=ChannelKind.EMAIL, name="x", url="", sealed_secret="", use="all",
                audience="residents", enabled=True,
            )
        )  # fmt: skip
    campaign = await open_campaign(client, manager, items=[item], holdout_percent=0)
    await send_now(client, manager, campaign)
    [lease] = await runtime.queue.take(1, wait_seconds=0)
    await HANDLERS[campaigns.SEND](runtime, lease)
    url = "/api/v1/me/recommendation-profile"
    answer = await client.patch(url, json={"marketing_opted_out": True}, headers={"If-Match": "*"}, as_=leaves)
    assert answer.status_code == 200, answer.text
    listed = await client.get(f"{manager.place.url}/message-deliveries", as_=manager)
    assert sorted((row["status"], row["last_error"]) for row in listed.json()["items"]) == [
        ("skipped", "unsubscribed"), ("waiting", "")
    ]  # fmt: skip
    assert len(await told(client, stays)) == 1


async def test_what_is_not_true_any_more_is_paused_and_not_sent(
    client: Client, make: Make, runtime: Runtime, run_jobs: Any, clock: Clock
):
    manager, resident = await make.staff(), await make.resident()
    item = await add_item(runtime, manager.place)
    campaign = await open_campaign(client, manager, items=[item], holdout_percent=0)
    await move(client, manager, campaign, "approve")
    await move(client, manager, campaign, "schedule", local_time="2026-11-22T12:00")
    paused = await move(client, manager, campaign, "pause")
    assert (paused.json()["status"], paused.json()["allowed"]) == ("paused", ["cancelled", "scheduled", "sending"])
    await move(client, manager, campaign, "schedule", local_time="2026-11-22T12:00")
    async with runtime.transaction(manager.tenant) as session:
        await session.execute(text("UPDATE items SET price_cents = 4500"))
    clock.now = NOW + timedelta(hours=3)
    await sweep_due_campaigns(runtime)
    await run_jobs()
    shown = await get(client, manager, campaign)
    assert (shown["status"], shown["hold"]) == ("paused", "copy_refused")
    assert {one["said"] for one in shown["variants"][0]["problems"]} == {"30元", "30 yuan"}
    assert await told(client, resident) == []
    cancelled = await move(client, manager, campaign, "cancel")
    assert (cancelled.json()["status"], cancelled.json()["allowed"]) == ("cancelled", [])
