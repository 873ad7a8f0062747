"""Two communities, one full of marked texts: whatever the people of the other ask, no marked text reaches them."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from app.people.scopes import ALL_SCOPES
from app.people.tables import Account, Community
from app.runtime import Runtime
from tests.conftest import Client
from tests.isolation.operations import OBJECTS, Operation
from tests.isolation.worlds import build_world
from tests.make import Make, Person, Place

CANARY = "金丝雀QZX"
"""In every text of the marked community; in nothing that anybody else wrote."""


def marked(what: str) -> str:
    return f"{CANARY}{what}"


@dataclass(frozen=True)
class Marked:
    """The marked community: who lives and works there, and what there is to ask for."""

    place: Place
    manager: Person
    resident: Person
    ids: dict[str, str]
    words: list[str]


async def build_marked(client: Client, make: Make, runtime: Runtime, place: Place, run_jobs: Any) -> Marked:
    """Every text field that can be written is written, through the API where there is a way."""
    manager, resident = await make.staff(place=place), await make.resident(place=place)
    url = place.url

    async def send(method: str, path: str, body: Any = None, who: Person = manager, **more: Any) -> Any:
        address = path if path.startswith("/") else f"{url}/{path}"
        answer = await client.request(method, address, json=body, as_=who, headers={"If-Match": "*"}, **more)
        assert answer.status_code < 300, (path, answer.text)
        return answer.json()

    await send("PATCH", url, {"name": marked("小区"), "name_en": marked("garden")})
    settings = {"assistant_name": marked("小邻"), "assistant_name_en": marked("helper"), "office_hours": marked("8-18")}
    await send("PATCH", "settings", settings)
    space = await send("POST", "spaces", {"kind": "phase", "name": marked("期")})
    await send("PATCH", f"residents/{resident.id}", {"name": marked("住户"), "phone": "021-5550199"})
    await send("PATCH", f"staff/{manager.id}", {"name": marked("经理")})
    account = {"login": marked("login"), "oidc_subject": marked("subject")}
    await send("PUT", f"residents/{resident.id}/account", account)
    key = await send("POST", "api-keys", {"name": marked("key"), "scopes": ["me:read"]})
    hook = {"name": marked("hook"), "url": f"https://hooks.invalid/{CANARY}", "events": ["workorder.created"]}
    webhook = await send("POST", "webhooks", hook)
    delivery = await send("POST", f"webhooks/{webhook['id']}/test")
    answer = {"questions": [marked("几点开门")], "answer_zh": marked("八点"), "answer_en": marked("at eight")}
    approved = await send("POST", "answers", answer)
    text = f"# {marked('规定')}\n\n{marked('电梯里不许带狗')}。{CANARY}停车每小时五元。"
    document = await make.document(marked("手册"), text, place=place, source_key=marked("source"))
    conversation = await send("POST", "/api/v1/me/conversations", {"title": marked("会话")}, resident)
    question = {"text": marked("几点开门"), "conversation_id": conversation["id"]}
    turn = await send("POST", "/api/v1/me/turns", question, resident)
    await run_jobs()
    done = await send("GET", f"/api/v1/turns/{turn['id']}", who=resident)
    assert (done["status"], CANARY in done["answer"]) == ("answered", True), done
    async with runtime.transaction(place.tenant) as session:
        await session.execute(update(Account).where(Account.id == manager.account_id).values(name=marked("员工")))
        await session.execute(
            update(Community).where(Community.id == place.id).values(slug=f"{CANARY}{place.slug}"[:63])
        )
    household = await send("GET", f"households/{resident.household_id}")
    # One object of every kind there is; what bears marked texts takes the place of some.
    others = (await build_world(client, make, place)).objects
    ids = others | {
        "community": str(place.id), "space": space["id"], "room": household["room_id"], "household": household["id"],
        "resident": str(resident.id), "staff": str(manager.id), "key": key["id"], "document": str(document),
        "answer": approved["id"], "conversation": conversation["id"], "turn": turn["id"],
        "webhook": webhook["id"], "webhook_delivery": delivery["id"],
    }  # fmt: skip
    return Marked(place, manager, resident, ids, [marked("规定"), marked("几点开门"), CANARY])


@pytest.fixture(params=["a sibling community", "another company"])
async def told(request: pytest.FixtureRequest, client: Client, make: Make, runtime: Runtime, run_jobs: Any) -> Marked:
    home = await make.home()
    sibling = request.param == "a sibling community"
    place = await make.place(organisation_id=home.tenant.organisation_id if sibling else None, name=marked("小区"))
    return await build_marked(client, make, runtime, place, run_jobs)


class Listener:
    """Reads everything that comes back and remembers where a marked text was in it."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.leaks: list[str] = []
        self.answers = 0

    async def ask(self, who: Person | str | None, **request: Any) -> httpx.Response:
        answer = await self.client.request(as_=who, **request)
        self.answers += 1
        whole = f"{answer.text} {dict(answer.headers)} {_plain(answer)}"
        if CANARY in whole or "021-5550199" in whole:
            self.leaks.append(f"{request['method']} {request['url']} by {who}: {whole[:300]}")
        return answer


def _plain(answer: httpx.Response) -> str:
    """Without JSON's escapes, which would hide a text."""
    try:
        return json.dumps(answer.json(), ensure_ascii=False)
    except ValueError:
        return ""


async def test_no_marked_text_crosses_by_any_route(
    client: Client, make: Make, api: list[Operation], told: Marked, working: None,
    record_property: Callable[[str, object], None],
):  # fmt: skip
    own = await build_own(client, make)
    listener = Listener(client)
    people: list[Person | str | None] = [
        None, await make.resident(), await make.staff(), await make.api_key(*ALL_SCOPES)
    ]  # fmt: skip
    theirs = {name: told.ids[kind] for name, kind in OBJECTS.items()}
    for operation in api:
        ids = [theirs, theirs | {"cid": str(own.id)}] if "cid" in operation.names else [theirs]
        await asyncio.gather(*(listener.ask(who, **operation.request(one)) for who in people for one in ids))
    assert listener.answers > 4 * len(api)
    assert listener.leaks == []
    record_property(
        "report", f"canaries: {len(api)} operations x {len(people)} people, {listener.answers} answers, 0 crossed"
    )


async def build_own(client: Client, make: Make) -> Place:
    """The asking community has something like what is asked for, so that a search has something to find."""
    home = await make.home()
    await make.document("手册", "# 规定\n\n电梯里不许带狗。停车每小时三元。")
    return home


async def test_no_marked_text_is_found_by_searching_or_asking(client: Client, make: Make, told: Marked, working: None):
    home = await build_own(client, make)
    listener = Listener(client)
    manager, resident = await make.staff(), await make.resident()

    async def ask(who: Person, words: str) -> None:
        url = f"{home.url}/search"
        found = await listener.ask(who, method="POST", url=url, json={"question": words, "limit": 50})
        assert found.status_code == 200, found.text
        assert told.ids["document"] not in found.text
        turn = await listener.ask(who, method="POST", url="/api/v1/me/turns", json={"text": words})
        events = await listener.ask(who, method="GET", url=turn.json()["events_url"])
        assert "event: done" in events.text, events.text
        chat = {"messages": [{"role": "user", "content": words}], "stream": True}
        streamed = await listener.ask(who, method="POST", url="/v1/chat/completions", json=chat)
        assert "[DONE]" in streamed.text, streamed.text

    # What one says oneself comes back; only the other community's text must not.
    asked = [word.replace(CANARY, "金丝雀") for word in told.words] + ["电梯里不许带狗", "停车每小时多少钱", "几点开门"]
    await asyncio.gather(*(ask(who, words) for words in asked for who in (manager, resident)))
    await listener.ask(manager, method="GET", url=f"{home.url}/residents", params={"filter[name]": "金丝雀"})
    for who in (manager, resident):
        listed = await listener.ask(who, method="GET", url="/api/v1/me/conversations")
        for one in listed.json()["items"]:
            await listener.ask(who, method="GET", url=f"/api/v1/me/conversations/{one['id']}/turns")
    read = await listener.ask(manager, method="GET", url=f"{home.url}/conversations")
    assert len(read.json()["items"]) > 0
    assert listener.leaks == []


async def test_no_marked_text_is_in_what_all_can_read(client: Client, told: Marked, runtime: Runtime):
    listener = Listener(client)
    for path in ("/metrics", "/openapi.json", "/docs", "/redoc", "/healthz", "/readyz", f"/{told.ids['document']}"):
        await listener.ask(None, method="GET", url=path)
    body = {"community": told.place.slug, "login": marked("login"), "password": "wrong password"}
    await listener.ask(None, method="POST", url="/api/v1/auth/sign-in", json=body)
    assert listener.leaks == []


async def test_redis_holds_texts_under_their_own_turn_only(told: Marked, runtime: Runtime):
    """Keys name ids, never texts; the one value with texts is the feed of the turn, which only its owner follows."""
    holding = []
    async for key in runtime.redis.scan_iter():
        kind: Any = await runtime.redis.type(key)
        dump: Any = {
            "string": lambda key=key: runtime.redis.get(key),
            "hash": lambda key=key: runtime.redis.hgetall(key),
            "zset": lambda key=key: runtime.redis.zrange(key, 0, -1),
            "set": lambda key=key: runtime.redis.smembers(key),
            "list": lambda key=key: runtime.redis.lrange(key, 0, -1),
            "stream": lambda key=key: runtime.redis.xrange(key),
        }
        found = repr(await dump[kind.decode()]()) + repr(key)
        if (
            CANARY in found
            or repr(CANARY.encode())[2:-1] in found
            or json.dumps(CANARY)[1:-1] in found.replace("\\\\", "\\")
        ):
            holding.append(key.decode())
    assert holding, "the feed of the turn holds its text"
    assert all(told.ids["turn"] in key for key in holding), holding
