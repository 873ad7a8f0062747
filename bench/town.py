"""A community of a chosen size, filled by COPY, and what its people do all day, for bench_growth and its test."""

import dataclasses
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
from sqlalchemy import event, text
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from app.chat import claims, conversations, inbox
from app.chat.claims import Draft
from app.chat.inbox_schemas import FilterIn
from app.chat.tables import Conversation, ConversationStatus, Turn, TurnStatus
from app.db import Tenant
from app.evals.scratch import callers_of
from app.knowledge import centres, documents, search
from app.knowledge.ingest import embedder_key
from app.knowledge.language import Language
from app.knowledge.search import Question
from app.knowledge.tables import Document, Passage
from app.people import accounts, communities, residents, sign_in
from app.people.callers import Caller
from app.people.tables import Organisation, Resident
from app.queue import Lease
from app.rest.pages import PageQuery, encode_cursor, fetch_page
from app.runtime import Runtime
from bench import passages

RESIDENTS, CONVERSATIONS_EACH, TURNS_EACH = 100, 3, 3
PASSAGES, PASSAGES_PER_DOCUMENT = 300, 10
OPEN_TURNS = 20
WIDTH = 384
ASKED = "停车费多少钱一个月"
WRITTEN = (
    "小区停车位每月收费三百元，临时停车每小时五元，业主可以在物业中心办理月卡。",
    "装修须提前五天报备，周末和节假日不得施工，押金在验收后退还。",
    "游泳池每天早上六点到晚上九点开放，儿童须由成人陪同。",
    "电梯发生故障时请按下紧急呼叫按钮，并等待维修人员到场。",
)
"""What the chains of the made-up passages are drawn from."""


class NoEmbedder:
    """Named where nothing is embedded: vectors here are drawn, since only time is measured."""

    name, width = "drawn", WIDTH

    async def embed_queries(self, texts: Sequence[str]) -> Any:
        raise AssertionError("nothing is embedded here")

    embed_passages = embed_queries


@dataclass(frozen=True)
class Town:
    """`size` times the smallest town. `resident` has an account and three conversations."""

    runtime: Runtime
    size: int
    slug: str
    staff: Caller
    resident: Caller
    conversation_id: UUID
    document_id: UUID
    middle: UUID
    """A resident in the middle of the list."""
    question: Question

    def at(self, sessions: Any) -> "Town":
        """The same town through other connections."""
        return dataclasses.replace(self, runtime=dataclasses.replace(self.runtime, sessions=sessions))

    @property
    def tenant(self) -> Tenant:
        return self.resident.tenant


Operation = Callable[[Town], Awaitable[object]]


# Building it


async def build(runtime: Runtime, superuser: Any, *, size: int) -> Town:
    runtime = dataclasses.replace(runtime, embedder=NoEmbedder())
    tenant = Tenant(uuid7(), uuid7())
    assert tenant.organisation_id is not None
    assert tenant.community_id is not None
    slug = f"town-{str(tenant.community_id)[-12:]}"
    async with runtime.transaction(tenant) as session:
        session.add(Organisation(id=tenant.organisation_id, name="growth"))
        await session.flush()
        await communities.create(
            session, organisation_id=tenant.organisation_id, community_id=tenant.community_id, slug=slug, name="邻里"
        )
    people = await _copy_people(superuser, tenant, RESIDENTS * size)
    spoken = await _copy_talk(superuser, tenant, people)
    random = np.random.default_rng(size)
    drawn = random.standard_normal((64, WIDTH)).astype(np.float32)
    rows = passages.made_up(WRITTEN, drawn / np.linalg.norm(drawn, axis=1, keepdims=True), PASSAGES * size)
    named = dataclasses.replace(rows, names=[f"{at // PASSAGES_PER_DOCUMENT}.md" for at in range(PASSAGES * size)])
    files = await passages.copy_in(superuser, tenant.community_id, named, audiences=("all", "all", "owners", "staff"))
    await passages.finish(runtime, tenant)
    await superuser.execute("ANALYZE accounts, residents, conversations, turns, documents")
    callers = callers_of(tenant)
    resident = dataclasses.replace(callers["resident"], id=people[0][0], account_id=people[0][1])
    zero = {language: np.zeros(WIDTH, np.float32) for language in Language}
    key, generic = embedder_key(runtime.embedder), centres.Centres(zero, zero)
    question = Question(ASKED, Language.ZH, rows.vectors[0], key, generic)
    middle = people[len(people) // 2][0]
    return Town(runtime, size, slug, callers["staff"], resident, spoken, files[0], middle, question)


async def _copy(superuser: Any, table: str, columns: str, lines: Iterable[Sequence[object]]) -> None:
    await superuser.copy_to_table(table, source=passages.encoded(lines), format="csv", columns=columns.split())


async def _copy_people(superuser: Any, tenant: Tenant, number: int) -> list[tuple[UUID, UUID]]:
    """Residents with an account each: their ids."""
    people = [(uuid7(), uuid7()) for _ in range(number)]
    ours, company = tenant.community_id, tenant.organisation_id
    await _copy(
        superuser, "accounts", "id organisation_id login name",
        ((account, company, f"resident-{at}", f"住户{at}") for at, (_, account) in enumerate(people)),
    )  # fmt: skip
    await _copy(
        superuser, "residents", "id community_id account_id name phone language",
        ((id_, ours, account, f"住户{at}", "-", "zh") for at, (id_, account) in enumerate(people)),
    )  # fmt: skip
    return people


async def _copy_talk(superuser: Any, tenant: Tenant, people: Sequence[tuple[UUID, UUID]]) -> UUID:
    """Conversations of everybody with their turns, and some that still wait; one of the first resident's."""
    now, ours = datetime.now(UTC), tenant.community_id
    talks = [(uuid7(), *person) for person in people for _ in range(CONVERSATIONS_EACH)]
    await _copy(
        superuser, "conversations",
        "id community_id caller_kind caller_id account_id title last_number created_at",
        ((id_, ours, "resident", who, account, "停车费", TURNS_EACH, now) for id_, who, account in talks),
    )  # fmt: skip
    columns = (
        "id community_id conversation_id number status messages language claim_token attempts stop_requested answer "
        "quotes citations trace prompt_tokens cached_tokens completion_tokens created_at finished_at"
    )

    def line(talk: UUID, number: int, status: str) -> Sequence[object]:
        done = now if status == "answered" else None
        return (
            uuid7(), ours, talk, number, status, '["停车费多少"]', "zh", 1, 1, False, "每月三百元。" * 20, "[]", "[]",
            "{}", 900, 800, 100, now - timedelta(hours=1), done,
        )  # fmt: skip

    answered = (line(talk[0], number, "answered") for talk in talks for number in range(1, TURNS_EACH + 1))
    await _copy(superuser, "turns", columns, answered)
    await _copy(superuser, "turns", columns, (line(talk[0], 9, "waiting") for talk in talks[-OPEN_TURNS:]))
    return talks[0][0]


# What people do


def operation(name: str) -> Callable[[Operation], Operation]:
    def keep(function: Operation) -> Operation:
        OPERATIONS[name] = function
        return function

    return keep


OPERATIONS: dict[str, Operation] = {}


async def _page(town: Town, session: AsyncSession, statement: Any, column: Any, after: UUID | None = None) -> object:
    newest_first = column in (Conversation.id, Document.id)
    query = PageQuery(cursor=encode_cursor(after) if after else None)
    rows, _ = await fetch_page(session, statement, id_column=column, query=query, newest_first=newest_first)
    assert rows
    return rows


@operation("sign-in lookup")
async def _sign_in(town: Town) -> object:
    tenant = await sign_in.find_tenant(town.runtime, town.slug)
    assert tenant is not None
    assert tenant.organisation_id is not None
    async with town.runtime.transaction(tenant) as session:
        return await accounts.find_by_login(session, tenant.organisation_id, "resident-42")


@operation("residents, first page")
async def _residents(town: Town) -> object:
    async with town.runtime.transaction(town.tenant) as session:
        return await _page(town, session, residents.list_statement(town.staff), Resident.id)


@operation("residents, deep page")
async def _residents_deep(town: Town) -> object:
    async with town.runtime.transaction(town.tenant) as session:
        return await _page(town, session, residents.list_statement(town.staff), Resident.id, town.middle)


@operation("one resident with rooms")
async def _resident(town: Town) -> object:
    async with town.runtime.transaction(town.tenant) as session:
        found = await residents.get(session, town.staff, town.middle)
        return await residents.show(session, [found])


@operation("own conversations")
async def _own_talks(town: Town) -> object:
    async with town.runtime.transaction(town.tenant) as session:
        return await _page(town, session, conversations.visible_to(town.resident), Conversation.id)


@operation("all conversations, for staff")
async def _all_talks(town: Town) -> object:
    return await _inbox(town, FilterIn())


@operation("conversations of a status, for staff")
async def _talks_of_a_status(town: Town) -> object:
    return await _inbox(town, FilterIn(status=[ConversationStatus.BOT]))


async def _inbox(town: Town, wanted: FilterIn) -> object:
    async with town.runtime.transaction(town.tenant) as session:
        statement = inbox.filtered(town.staff, wanted)
        rows, cursor = await inbox.fetch_page(session, statement, cursor=None, limit=50)
        assert cursor
        rows, _ = await inbox.fetch_page(session, statement, cursor=cursor, limit=50)
        return await inbox.show(session, rows)


@operation("turns of a conversation")
async def _turns(town: Town) -> object:
    async with town.runtime.transaction(town.tenant) as session:
        await conversations.get_conversation(session, town.resident, town.conversation_id)
        ours = conversations.visible_turns(town.resident).where(Turn.conversation_id == town.conversation_id)
        return await _page(town, session, ours, Turn.id)


@operation("a turn: started, claimed, saved")
async def _turn(town: Town) -> object:
    async with town.runtime.transaction(town.tenant) as session:
        turn = await conversations.start_turn(session, town.runtime, town.resident, text=ASKED)
        session.info.pop("jobs", None)
    lease = Lease(conversations.job_of(turn.id, turn.community_id, turn.conversation_id), token=1, attempt=1)
    claimed = await claims.claim(town.runtime, lease)
    assert isinstance(claimed, claims.Claim)
    return await claims.save(town.runtime, claimed, Draft(answer="好的。"), status=TurnStatus.ANSWERED)


@operation("search, with filters")
async def _search(town: Town) -> object:
    async with town.runtime.transaction(town.tenant) as session:
        return await search.search(session, town.resident, town.question, as_of=town.runtime.clock(), limit=8)


@operation("documents, newest page")
async def _documents(town: Town) -> object:
    async with town.runtime.transaction(town.tenant) as session:
        return await _page(town, session, documents.visible_documents(town.staff, town.runtime.clock()), Document.id)


@operation("a document's passages")
async def _document(town: Town) -> object:
    async with town.runtime.transaction(town.tenant) as session:
        found = await documents.get_document(session, town.resident, town.document_id, as_of=town.runtime.clock())
        return await _page(town, session, documents.passages_of(town.resident, found), Passage.id)


@operation("open turns, for the sweeper")
async def _open_turns(town: Town) -> object:
    async with town.runtime.transaction(None) as session:
        found = await session.execute(text("SELECT * FROM open_turns(now(), 1000)"))
        return found.all()


# Plans


async def plans(town: Town, engine: Any, name: str, *, off: Sequence[str] = ()) -> list[str]:
    """The plan of each statement of an operation, as the app's role gets it in this town's transaction.

    `off`: what the planner is to avoid where it can, as in `seqscan`.
    """
    seen: list[tuple[str, Any]] = []

    def see(_: Any, __: Any, statement: str, parameters: Any, *rest: object) -> None:
        seen.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", see)
    try:
        await OPERATIONS[name](town)
    finally:
        event.remove(engine.sync_engine, "before_cursor_execute", see)
    told = []
    for statement, parameters in seen:
        async with town.runtime.transaction(town.tenant) as session:
            connection = await session.connection()
            for method in off:
                await session.execute(text(f"SET LOCAL enable_{method} = off"))
            rows = await connection.exec_driver_sql(f"EXPLAIN (COSTS OFF) {statement}", parameters)
            told.append("\n".join(row[0] for row in rows))
    return told


def shape(plan: str) -> str:
    """A plan's nodes, one a line, without conditions; partitions and indexes without a community's id."""
    nodes = [line for line in plan.splitlines() if "->" in line or not line.startswith(" ")]
    return re.sub(r"_[0-9a-f]{32}", "_…", "\n".join(nodes))
