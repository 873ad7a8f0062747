"""Loads the practice community: people and places in bulk, documents and approved answers through their own verbs.

Safe to run twice and after a crash: ids are fixed, rows that are there stay as they are.
"""

import asyncio
import json
import secrets
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import yaml
from sqlalchemy import func, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.db import Base, Tenant
from app.knowledge import answers, ingest
from app.knowledge.parsers import PARSERS
from app.knowledge.reading import Reading
from app.knowledge.tables import ApprovedAnswer, Document, DocumentStatus
from app.people import accounts, communities
from app.people.callers import Caller, account_caller
from app.people.tables import (
    Account,
    Community,
    Household,
    Organisation,
    Residency,
    Resident,
    RotaEntry,
    Space,
    Staff,
    StaffRight,
    StaffRole,
    StaffShift,
)
from app.practice import duties, offers
from app.practice import world as practice
from app.practice.world import World
from app.queue import send_after_commit
from app.recommend import items
from app.recommend.tables import Item, ItemFeedback
from app.runtime import Runtime
from app.settings import Settings

PASSWORD_FILE = "practice_password"  # noqa: S105 (the name of a file)
POLL_SECONDS = 0.5

Progress = Callable[[str, int, int], None]
"""Called with a step (places, people, documents, answers, embedding), how much is done and how much there is."""


@dataclass(frozen=True, slots=True)
class DemoSignIn:
    """A login of the practice community, for trying Linli. All share the password of `demo_password`."""

    community: str
    login: str
    kind: str
    name: str
    label_zh: str
    label_en: str


@dataclass(frozen=True, slots=True)
class Seeded:
    """What was loaded now (`…_added`) and how to sign in."""

    password: str
    sign_ins: tuple[DemoSignIn, ...]
    rows_added: int
    documents_added: int
    answers_added: int
    tenants: tuple[Tenant, ...]


def _demo_sign_ins(world: World) -> tuple[DemoSignIn, ...]:
    slugs = {community.id: community.slug for community in world.communities}
    return tuple(
        DemoSignIn(slugs[one.community_id], one.login, one.kind, one.name, one.label_zh, one.label_en)
        for one in world.sign_ins
    )


DEMO_SIGN_INS: tuple[DemoSignIn, ...] = _demo_sign_ins(practice.build())


def demo_password(settings: Settings) -> str:
    """The password of all demo sign-ins of this installation: drawn once, kept in the data folder for its owner.

    A well-known one would be a manager's password on every machine that ever tried Linli.
    """
    file = settings.data_dir / PASSWORD_FILE
    if file.exists():
        return file.read_text().strip()
    password = "-".join(secrets.token_hex(3) for _ in range(3))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch(mode=0o600)
    file.write_text(password + "\n")
    return password


async def seed(runtime: Runtime, *, progress: Progress | None = None) -> Seeded:
    """Load what is missing. Documents are queued: the worker embeds them (`wait_for_documents`)."""
    report = progress or _silent
    world = practice.build()
    tenants = {one.id: Tenant(world.organisation.id, one.id) for one in world.communities}
    password = await asyncio.to_thread(demo_password, runtime.settings)
    await _open_communities(runtime, world)
    rows = 0
    for number, tenant in enumerate(tenants.values()):
        async with runtime.transaction(tenant) as session:
            rows += await _insert(session, *_places(world, tenant))
            report("places", number + 1, len(tenants))
            rows += await _insert(session, *_people(world, tenant, runtime))
            await _describe_staff(session, world)
            rows += await _insert(session, *_duties(world, tenant))
            report("people", number + 1, len(tenants))
    rows += await _add_offers(runtime, tenants[world.communities[0].id], world, report)
    await _set_passwords(runtime, world, password)
    documents = answered = 0
    for community in world.communities:
        caller = await _manager(runtime, tenants[community.id], world)
        documents += await _add_documents(runtime, caller, community.documents, report)
        if community.approved_answers is not None:
            answered += await _add_answers(runtime, caller, community.approved_answers, report)
    return Seeded(password, DEMO_SIGN_INS, rows, documents, answered, tuple(tenants.values()))


def _silent(step: str, done: int, total: int) -> None:
    """For callers that watch nothing."""


async def wait_for_documents(
    runtime: Runtime, tenants: Iterable[Tenant], *, seconds: float, progress: Progress | None = None
) -> int:
    """How many documents still wait for the worker when none does or the time is over."""
    report = progress or _silent
    deadline = time.monotonic() + seconds
    while True:
        waiting = total = 0
        for tenant in tenants:
            async with runtime.transaction(tenant) as session:
                of_status = func.count().filter(Document.status == DocumentStatus.WAITING)
                row = (await session.execute(select(of_status, func.count()).select_from(Document))).one()
                waiting, total = waiting + row[0], total + row[1]
        report("embedding", total - waiting, total)
        if not waiting or time.monotonic() >= deadline:
            return waiting
        await asyncio.sleep(POLL_SECONDS)


# People and places


async def _open_communities(runtime: Runtime, world: World) -> None:
    company = Tenant(world.organisation.id, None)
    async with runtime.transaction(company) as session:
        row = {"id": world.organisation.id, "name": world.organisation.name, "defaults": {}}
        await _insert(session, (Organisation, [row]))
    for community in world.communities:
        async with runtime.transaction(Tenant(world.organisation.id, community.id)) as session:
            if await session.get(Community, community.id) is None:
                opened = await communities.create(
                    session, organisation_id=world.organisation.id, slug=community.slug, name=community.name,
                    name_en=community.name_en, community_id=community.id,
                )  # fmt: skip
                opened.overrides = dict(community.phones)


Rows = tuple[type[Base], list[dict[str, Any]]]


def _places(world: World, tenant: Tenant) -> tuple[Rows, ...]:
    spaces = [
        {
            "id": one.id, "community_id": one.community_id, "parent_id": one.parent_id,
            "building_id": one.building_id, "kind": one.kind, "name": one.name, "label": one.label,
        }
        for one in world.spaces if one.community_id == tenant.community_id
    ]  # fmt: skip
    households = [
        {"id": one.id, "community_id": one.community_id, "room_id": one.room_id}
        for one in world.households if one.community_id == tenant.community_id
    ]  # fmt: skip
    return (Space, spaces), (Household, households)


def _people(world: World, tenant: Tenant, runtime: Runtime) -> tuple[Rows, ...]:
    """Accounts and staff belong to the company and come along with every community; once there, they stay."""
    living_here = [one for one in world.residents if one.community_id == tenant.community_id]
    residents = [
        {
            "id": one.id, "community_id": one.community_id, "account_id": one.account_id, "name": one.name,
            "phone": one.phone, "language": one.language,
        }
        for one in living_here
    ]  # fmt: skip
    residencies = [
        {
            "id": uuid5(one.id, "residency"), "community_id": one.community_id, "resident_id": one.id,
            "household_id": one.household_id, "building_id": one.building_id, "role": one.role,
            "verified_at": runtime.clock() if one.verified else None,
        }
        for one in living_here
    ]  # fmt: skip
    logins = [
        {"id": one.id, "organisation_id": one.organisation_id, "login": one.login, "name": one.name}
        for one in world.accounts
    ]
    staff = [
        {
            "id": one.id, "organisation_id": one.organisation_id, "account_id": one.account_id, "name": one.name,
            "title": one.title, "phone": one.phone, "skills": duties.skills_of(world, one),
        }
        for one in world.staff
    ]  # fmt: skip
    rights = [
        {
            "id": uuid5(one.id, f"{right.community_id}/{right.role}"), "organisation_id": one.organisation_id,
            "staff_id": one.id, "community_id": right.community_id, "role": right.role,
        }
        for one in world.staff for right in one.rights if right.community_id == tenant.community_id
    ]  # fmt: skip
    return (Account, logins), (Staff, staff), (StaffRight, rights), (Resident, residents), (Residency, residencies)


def _duties(world: World, tenant: Tenant) -> tuple[Rows, ...]:
    assert tenant.community_id is not None
    return (
        (StaffShift, duties.shift_rows(world, tenant.community_id)),
        (RotaEntry, duties.rota_rows(world, tenant.community_id)),
    )


async def _describe_staff(session: AsyncSession, world: World) -> None:
    """Title, phone and skills of staff who have none: those loaded by a version that did not know them."""
    for one in world.staff:
        bare = (Staff.title == "", Staff.phone == "", Staff.skills == [])
        values = {"title": one.title, "phone": one.phone, "skills": duties.skills_of(world, one)}
        await session.execute(update(Staff).where(Staff.id == one.id, *bare).values(**values))


async def _insert(session: AsyncSession, *tables: Rows) -> int:
    """Insert the rows that are not there yet, one statement a table, and return how many that were.

    They travel as one JSON value: thousands of bound values cost many times as much on our side.
    """
    added = 0
    for table, rows in tables:
        name, columns = table.__tablename__, ", ".join(rows[0])
        statement = text(
            f"INSERT INTO {name} ({columns}) SELECT {columns}"  # noqa: S608 (names of our own tables)
            f" FROM jsonb_populate_recordset(NULL::{name}, CAST(:rows AS jsonb)) ON CONFLICT DO NOTHING RETURNING 1"
        )
        added += len((await session.execute(statement, {"rows": json.dumps(rows, default=str)})).all())
    return added


# Things to recommend


FEEDBACK_AT_ONCE = 4_000


async def _add_offers(runtime: Runtime, tenant: Tenant, world: World, report: Progress) -> int:
    """Items that are missing; and, where nobody did anything yet, the made-up year of what people did."""
    assert tenant.community_id is not None
    now = runtime.clock()
    async with runtime.transaction(tenant) as session:
        added = await _insert(session, (Item, offers.item_rows(world, now=now)))
        if added:
            number = await items.next_number(session, tenant.community_id)
            await session.execute(update(Item).where(Item.catalogue_number == 0).values(catalogue_number=number))
            send_after_commit(session, items.embed_job(tenant.community_id))
        told = await session.scalar(select(ItemFeedback.id).limit(1))
    report("offers", 1, 2)
    if told is None:
        rows = await asyncio.to_thread(offers.feedback_rows, world, now=now)
        for start in range(0, len(rows), FEEDBACK_AT_ONCE):
            async with runtime.transaction(tenant) as session:
                added += await _insert(session, (ItemFeedback, rows[start : start + FEEDBACK_AT_ONCE]))
    report("offers", 2, 2)
    return added


async def _set_passwords(runtime: Runtime, world: World, password: str) -> None:
    """Give the demo sign-ins their password; one that a person has changed since is left alone."""
    company = Tenant(world.organisation.id, None)
    demo = Account.id.in_([one.account_id for one in world.sign_ins])
    async with runtime.transaction(company) as session:
        kept = set(await session.scalars(select(Account.password_hash).where(demo)))
    # All of them carry one hash, so a lost password file shows in one check.
    old = [one for one in kept if one is not None and not (await accounts.check_password(one, password)).right]
    stale = old if len(old) == len(kept - {None}) else []
    if None not in kept and not stale:
        return
    new_hash = await accounts.hash_password(password)
    async with runtime.transaction(company) as session:
        unset = or_(Account.password_hash.is_(None), Account.password_hash.in_(stale))
        await session.execute(update(Account).where(demo, unset).values(password_hash=new_hash))


async def _manager(runtime: Runtime, tenant: Tenant, world: World) -> Caller:
    """Documents and answers are added with a manager's rights, as at the desk."""
    account_id = next(
        one.account_id
        for one in world.staff
        for right in one.rights
        if right.community_id == tenant.community_id and right.role is StaffRole.MANAGER
    )
    async with runtime.transaction(tenant) as session:
        return await account_caller(session, tenant, account_id)


# Documents and approved answers


async def _add_documents(runtime: Runtime, caller: Caller, folder: Path, report: Progress) -> int:
    files = await asyncio.to_thread(_read_files, folder)
    added = 0
    for number, (name, data, read) in enumerate(files):
        async with runtime.transaction(caller.tenant) as session:
            result = await ingest.add_document(
                session, caller, reading=read, data=data, file_name=name, now=runtime.clock()
            )
        added += result.created
        report("documents", number + 1, len(files))
    return added


def _read_files(folder: Path) -> list[tuple[str, bytes, Reading]]:
    # These files are ours, so no child process stands between us and a hostile one: that would take a second each.
    files = []
    for path in sorted(folder.glob("*.md")):
        data = path.read_bytes()
        parsed = PARSERS["md"](data)
        files.append((path.name, data, Reading("md", parsed.header, list(parsed.blocks))))
    return files


async def _add_answers(runtime: Runtime, caller: Caller, file: Path, report: Progress) -> int:
    given: list[dict[str, Any]] = yaml.safe_load(await asyncio.to_thread(file.read_text, encoding="utf-8"))
    async with runtime.transaction(caller.tenant) as session:
        there = {tuple(questions) for questions in await session.scalars(select(ApprovedAnswer.questions))}
        ids = await _newest_documents(session, caller.community_id)
    missing = [one for one in given if tuple(one["questions"]) not in there]
    for number, one in enumerate(missing):
        vectors = await runtime.embedder.embed_queries(one["questions"])
        words: dict[str, str] = defaultdict(str, {one["language"]: one["answer"]})
        async with runtime.transaction(caller.tenant) as session:
            await answers.open_answer(
                session, caller, embedder=runtime.embedder, vectors=vectors, questions=one["questions"],
                answer_zh=words["zh"], answer_en=words["en"], document_id=ids.get(one["document"]),
                now=runtime.clock(),
            )  # fmt: skip
        report("answers", number + 1, len(missing))
    return len(missing)


async def _newest_documents(session: AsyncSession, community_id: UUID) -> dict[str, UUID]:
    """The newest version of each document by its source."""
    rows: Sequence[Any] = (
        await session.execute(
            select(Document.source_key, Document.id)
            .where(Document.community_id == community_id)
            .order_by(Document.version)
        )
    ).all()
    return {row.source_key: row.id for row in rows}
