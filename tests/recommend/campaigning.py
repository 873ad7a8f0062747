"""What tests of campaigns are made of: items, copy that passes, a campaign brought as far as it should be."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import insert, select

from app.people.tables import Residency, Resident, ResidentRole
from app.recommend.campaign_tables import CampaignRecipient
from app.recommend.tables import FeedbackKind, Item, ItemFeedback, ItemKind, RecommendationProfile
from app.runtime import Runtime
from tests.conftest import NOW, Client
from tests.make import Person, Place

TEXTS = {
    "title_zh": "周末亲子烘焙", "title_en": "Family baking", "body_zh": "12月5日14:00在活动中心，费用30元，欢迎参加。",
    "body_en": "On 5 Dec at 14:00 in the activity centre, 30 yuan. You are welcome.",
    "plain_zh": "一起做面包。12月5日14:00。费用30元。", "plain_en": "Bake bread with us. 5 Dec at 14:00. 30 yuan.",
}  # fmt: skip


async def add_item(runtime: Runtime, place: Place, **columns: Any) -> UUID:
    """An activity on 5 December at 14:00, for 30 yuan."""
    item_id = uuid4()
    values: dict[str, Any] = {
        "id": item_id, "community_id": place.id, "kind": ItemKind.ACTIVITY, "title": "周末亲子烘焙",
        "title_en": "Family baking", "categories": ["亲子"], "place": "活动中心", "price_cents": 3_000,
        "starts_at": NOW + timedelta(days=13, hours=4), "catalogue_number": 1, "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip
    async with runtime.transaction(place.tenant) as session:
        session.add(Item(**(values | columns)))
    return item_id


async def did(runtime: Runtime, person: Person, item_id: UUID, kind: FeedbackKind, **columns: Any) -> None:
    at = runtime.clock()
    values = {
        "id": uuid4(), "community_id": person.place.id, "item_id": item_id, "resident_id": person.id, "kind": kind,
        "occasion": str(uuid4()), "at": at, "created_at": at,
    }  # fmt: skip
    async with runtime.transaction(person.tenant) as session:
        await session.execute(insert(ItemFeedback).values(**(values | columns)))


async def profile(runtime: Runtime, person: Person, **columns: Any) -> None:
    values = {"resident_id": person.id, "community_id": person.place.id, "created_at": NOW, "updated_at": NOW}
    async with runtime.transaction(person.tenant) as session:
        session.add(RecommendationProfile(**(values | columns)))


async def flatmate(runtime: Runtime, person: Person, *, phone: str = "") -> UUID:
    """Another resident of the same household, without an account."""
    resident = uuid4()
    async with runtime.transaction(person.tenant) as session:
        session.add(Resident(id=resident, community_id=person.place.id, name="家人", phone=phone, language="zh"))
        await session.flush()
        session.add(
            Residency(
                community_id=person.place.id, resident_id=resident, household_id=person.household_id,
                role=ResidentRole.FAMILY, verified_at=NOW,
            )
        )  # fmt: skip
    return resident


async def open_campaign(client: Client, manager: Person, *, items: Sequence[UUID] = (), **body: Any) -> dict[str, Any]:
    """A draft with copy that passes."""
    given = {
        "name": "烘焙",
        "item_ids": [str(one) for one in items],
        "variants": [{"label": "A", "texts": TEXTS}],
    } | body
    answer = await client.post(f"{manager.place.url}/campaigns", json=given, as_=manager)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def move(client: Client, manager: Person, campaign: dict[str, Any], verb: str, **body: Any) -> Any:
    url = f"{manager.place.url}/campaigns/{campaign['id']}/{verb}"
    return await client.post(url, json=body, as_=manager)


async def send_now(client: Client, manager: Person, campaign: dict[str, Any]) -> dict[str, Any]:
    approved = await move(client, manager, campaign, "approve")
    assert approved.status_code == 200, approved.text
    sent = await move(client, manager, campaign, "send")
    assert sent.status_code == 202, sent.text
    return dict(sent.json())


async def get(client: Client, manager: Person, campaign: dict[str, Any], more: str = "") -> dict[str, Any]:
    answer = await client.get(f"{manager.place.url}/campaigns/{campaign['id']}{more}", as_=manager)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def told(client: Client, person: Person) -> list[dict[str, Any]]:
    """The campaigns that a resident finds among their messages, newest first."""
    answer = await client.get("/api/v1/me/messages", as_=person)
    return [one for one in answer.json()["items"] if one["kind"] == "campaign.message"]


async def recipients(runtime: Runtime, place: Place, campaign_id: str) -> dict[UUID, CampaignRecipient]:
    async with runtime.transaction(place.tenant) as session:
        rows = await session.scalars(
            select(CampaignRecipient).where(CampaignRecipient.campaign_id == UUID(campaign_id))
        )
        found = list(rows)
    assert len({row.resident_id for row in found}) == len(found)
    return {row.resident_id: row for row in found}
