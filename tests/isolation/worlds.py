"""Communities with one object of every kind, and a fingerprint of all their rows."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import asyncpg
from sqlalchemy import insert

from app.chat import drafts
from app.chat.tables import Conversation
from app.notices import deliveries
from app.people.callers import CallerKind
from app.people.tables import StaffRole
from app.service_desk import cards
from tests.conftest import Client
from tests.isolation.operations import OBJECTS
from tests.make import Make, Person, Place

CATEGORY = {"code": "charging_pile", "name": "充电桩", "order_kind": "repair"}
ITEM = {"kind": "activity", "title": "亲子手工课"}
RULE = {"deadline_class": "paid", "respond_minutes": 30, "resolve_minutes": 600}
RULES = "# 规定\n\n装修时间为工作日8:00至12:00。狗不得进入电梯。"


@dataclass(frozen=True)
class World:
    """A community, people in it, and ids: one object of every kind."""

    place: Place
    manager: Person
    resident: Person
    objects: dict[str, str]

    def ids(self, **others: str) -> dict[str, str]:
        """By the name a route gives them; `others` take the place of some."""
        return {name: self.objects[kind] for name, kind in OBJECTS.items()} | others


async def build_world(client: Client, make: Make, place: Place) -> World:
    manager, resident = await make.staff(place=place), await make.resident(place=place)

    async def post(path: str, body: dict[str, Any], who: Person = manager) -> dict[str, Any]:
        answer = await client.post(f"{place.url}/{path}" if path[0] != "/" else path, json=body, as_=who)
        assert answer.status_code in (200, 201, 202), answer.text
        return dict(answer.json())

    order = (await post("/api/v1/me/workorders", {"text": "厨房水管漏水"}, resident))["id"]
    household = await client.get(f"{place.url}/households/{resident.household_id}", as_=manager)
    turn = await post("/api/v1/me/turns", {"text": "装修几点开始"}, resident)
    await post(f"/api/v1/turns/{turn['id']}/stop", {}, resident)
    phase = await post("spaces", {"kind": "phase", "name": "1"})
    draft = (await post(f"conversations/{turn['conversation_id']}/drafts", {"kind": "summary"}))["id"]
    # Ended, as the turn, so that nobody follows it for ever.
    await drafts.give_up(make._runtime, UUID(draft), place.id, reason="nobody writes here")
    webhook = {"name": "ERP", "url": "https://hooks.invalid/linli", "events": ["workorder.created"]}
    hook = (await post("webhooks", webhook))["id"]
    objects = {
        "community": str(place.id),
        "phase": phase["id"],
        "space": (await post("spaces", {"kind": "building", "name": "1", "parent_id": phase["id"]}))["id"],
        "room": household.json()["room_id"],
        "household": str(resident.household_id),
        "resident": str(resident.id),
        "job": (await post("spaces/export", {}))["id"],
        "vehicle": (await post("vehicles", {"plate": "沪AD12345"}))["id"],
        "staff": str(manager.id),
        "colleague": str((await make.staff(place=place, role=StaffRole.SECURITY)).id),
        "shift": str(await make.shift(manager)),
        "rota_entry": str(await make.on_call(manager)),
        "key": (await post("api-keys", {"name": "door", "scopes": ["me:read"]}))["id"],
        "document": str(await make.document("装修规定", RULES, place=place)),
        "answer": (await post("answers", {"questions": ["前台几点上班"], "answer_zh": "八点半。"}))["id"],
        "conversation": turn["conversation_id"],
        "turn": turn["id"],
        "work_order": order,
        "work_order_file": await attach(client, order, resident),
        "card": str(cards.id_of(place.id, "gas")),
        "category": (await post("workorder-categories", CATEGORY))["id"],
        "draft": draft,
        "canned reply": (await post("canned-replies", {"code": "收到", "text": "收到，马上处理。"}))["id"],
        "sla_rule": (await post("sla-rules", RULE))["id"],
        "assignment_rule": (await post("assignment-rules", {"mode": "rotation"}))["id"],
        "channel": (await post("notice-channels", {"name": "mail", "kind": "email"}))["id"],
        "message": await tell(client, make, resident),
        "webhook": hook,
        "webhook_delivery": (await post(f"webhooks/{hook}/test", {}))["id"],
    }
    on_the_way = await client.get(f"{place.url}/message-deliveries", as_=manager)
    objects["delivery"] = on_the_way.json()["items"][0]["id"]
    incident = (await post("incidents", {"title": "停水"}))["id"]
    await post(f"/api/v1/me/incidents/{incident}/follow", {}, resident)
    due = {"text": "上门", "due_at": "2027-01-01T00:00:00Z", "order_id": objects["work_order"]}
    objects |= {"incident": incident, "promise": (await post("promises", due))["id"]}
    objects |= {"item": (await post("items", ITEM))["id"], "ranker": (await post("rankers", {}))["id"]}
    objects |= {"recommendation_list": await show(client, resident)}
    campaign = (await post("campaigns", {"name": "烘焙", "kind": "triggered"}))["id"]
    rule = {"campaign_id": campaign, "event": "moved_in"}
    objects |= {"campaign": campaign, "campaign_rule": (await post("campaign-rules", rule))["id"]}
    return World(place, manager, resident, objects)


async def show(client: Client, resident: Person) -> str:
    """The id of a list that was recommended to this resident."""
    return str((await client.get("/api/v1/me/recommendations", as_=resident)).json()["list_id"])


async def attach(client: Client, order_id: str, reporter: Person) -> str:
    """A file of a resident's order."""
    file = {"file": ("reading.txt", "水表读数 356".encode())}
    answer = await client.post(f"/api/v1/me/workorders/{order_id}/files", files=file, as_=reporter)
    return str(answer.json()["id"])


async def tell(client: Client, make: Make, resident: Person) -> str:
    """The id of a message to this resident, on its way through every channel there is."""
    async with make._runtime.transaction(resident.tenant) as session:
        await deliveries.tell(
            session, make._runtime, community_id=resident.place.id, resident_id=resident.id, kind="workorder.moved",
            title={"zh": "已派单"}, body={"zh": "师傅马上到。"}, key=str(uuid4()),
        )  # fmt: skip
    listed = await client.get("/api/v1/me/messages", as_=resident)
    return str(listed.json()["items"][0]["id"])


async def build_neighbour(client: Client, make: Make, home: World) -> World:
    """The same community, but what there is belongs to another resident or is meant for staff."""
    other = await make.resident(place=home.place)
    turn = (await client.post("/api/v1/me/turns", json={"text": "我的水费是多少"}, as_=other)).json()
    await client.post(f"/api/v1/turns/{turn['id']}/stop", as_=other)
    body = {"questions": ["钥匙柜密码是什么"], "answer_zh": "只告诉员工。", "audience": "staff"}
    answer = await client.post(f"{home.place.url}/answers", json=body, as_=home.manager)
    order = await client.post("/api/v1/me/workorders", json={"text": "卧室插座没电"}, as_=other)
    drafts = f"{home.place.url}/conversations/{turn['conversation_id']}/drafts"
    draft = (await client.post(drafts, json={"kind": "summary"}, as_=home.manager)).json()
    objects = home.objects | {
        "work_order": order.json()["id"],
        "work_order_file": await attach(client, order.json()["id"], other),
        "document": str(await make.document("员工手册", RULES, place=home.place, audience="staff")),
        "answer": answer.json()["id"],
        "conversation": turn["conversation_id"],
        "turn": turn["id"],
        "draft": draft["id"],
        "message": await tell(client, make, other),
        "recommendation_list": await show(client, other),
    }
    return World(home.place, home.manager, other, objects)


async def open_conversation(make: Make, world: World, kind: CallerKind, caller_id: UUID) -> str:
    """A conversation of whoever is named."""
    conversation_id = uuid4()
    async with make._runtime.transaction(world.place.tenant) as session:
        await session.execute(
            insert(Conversation).values(
                id=conversation_id, community_id=world.place.id, caller_kind=kind, caller_id=caller_id, title="",
                created_at=make._runtime.clock(),
            )
        )  # fmt: skip
    return str(conversation_id)


TABLES = """
    SELECT c.oid::regclass::text AS name, array_agg(a.attname::text) AS columns
    FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace = 'public'::regnamespace
    GROUP BY c.oid
    HAVING bool_or(a.attname IN ('community_id', 'organisation_id')) OR c.relname = 'organisations'
    ORDER BY 1
"""


async def fingerprint_sql(owner: asyncpg.Connection) -> str:
    """A statement that tells all rows of the communities $1 and companies $2 by one hash a table."""

    def rows(name: str, columns: Collection[str]) -> str:
        if name == "organisations":
            where = "id = ANY($2::uuid[])"
        elif "organisation_id" in columns:
            where = "organisation_id = ANY($2::uuid[])"
        else:
            where = "community_id = ANY($1::uuid[])"
        return f"SELECT '{name}', count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {name} t WHERE {where}"

    return " UNION ALL ".join([rows(table["name"], table["columns"]) for table in await owner.fetch(TABLES)])
