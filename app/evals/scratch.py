"""A community that an evaluation makes for itself and removes afterwards."""

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from uuid_utils.compat import uuid7

from app.db import Tenant
from app.errors import AppError
from app.knowledge import ingest, reading
from app.knowledge.splitting import Block
from app.people import communities
from app.people.callers import Caller, CallerKind
from app.people.scopes import RESIDENT_SCOPES, ROLE_SCOPES
from app.people.tables import Organisation, Space, SpaceKind, StaffRole
from app.runtime import Runtime

SUFFIXES = frozenset({".md", ".txt", ".html", ".htm", ".pdf", ".docx", ".xlsx"})


@dataclass
class Scratch:
    """`callers` by role: resident, owner, tenant, staff. `refused` has files that could not be read."""

    runtime: Runtime
    tenant: Tenant
    callers: dict[str, Caller]
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def community_id(self) -> UUID:
        assert self.tenant.community_id is not None
        return self.tenant.community_id

    def at(self, moment: datetime | None) -> Runtime:
        """The runtime with its clock held at a moment."""
        return dataclasses.replace(self.runtime, clock=lambda: moment) if moment else self.runtime


def files_below(folder: Path) -> list[Path]:
    """Readable files of a folder, or the one file named."""
    if folder.is_file():
        return [folder]
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


@asynccontextmanager
async def scratch_community(
    runtime: Runtime, files: Sequence[Path], *, progress: Callable[[str], None] = lambda _: None
) -> AsyncIterator[Scratch]:
    """A fresh community that knows `files`; gone at the end, whatever happens."""
    tenant = Tenant(uuid7(), uuid7())
    async with runtime.transaction(tenant) as session:
        assert tenant.organisation_id is not None
        session.add(Organisation(id=tenant.organisation_id, name="evaluation"))
        await session.flush()
        await communities.create(
            session, organisation_id=tenant.organisation_id, community_id=tenant.community_id,
            slug=f"evaluation-{str(tenant.community_id)[-12:]}", name="望澜苑",
        )  # fmt: skip
    scratch = Scratch(runtime, tenant, callers_of(tenant))
    try:
        for path in files:
            progress(path.name)
            try:
                await add_file(scratch, path)
            except AppError as refusal:
                scratch.refused[path.name] = refusal.code
        yield scratch
    finally:
        await _remove(runtime, tenant)


def callers_of(tenant: Tenant) -> dict[str, Caller]:
    """One caller for each role that an evaluation set may name."""
    staff_scopes = frozenset[str]().union(*ROLE_SCOPES.values())
    resident = Caller(tenant, CallerKind.RESIDENT, uuid7(), scopes=RESIDENT_SCOPES, verified=True)
    return {
        "resident": resident,
        "tenant": dataclasses.replace(resident, id=uuid7()),
        "owner": dataclasses.replace(resident, id=uuid7(), owner=True),
        "staff": Caller(
            tenant, CallerKind.STAFF, uuid7(), scopes=staff_scopes, roles=frozenset({StaffRole.MANAGER}), verified=True
        ),
    }


async def add_file(scratch: Scratch, path: Path) -> None:
    """Read and ingest one file at once, without the queue. A building that it names is made."""
    runtime, data = scratch.runtime, await asyncio.to_thread(path.read_bytes)
    read = await reading.read(runtime.settings, data, path.name)
    async with runtime.transaction(scratch.tenant) as session:
        await _make_building(session, scratch, str(read.header.get("audience", "")))
        added = await ingest.add_document(
            session, scratch.callers["staff"], reading=read, data=data, file_name=path.name, now=runtime.clock()
        )
        session.info.pop("jobs", None)
    await ingest.ingest(runtime, scratch.tenant, added.document.id)


async def add_texts(scratch: Scratch, texts: Iterable[tuple[str, str]]) -> None:
    """Each (id, text) as a document of that name."""
    for name, body in texts:
        read = reading.Reading("txt", {}, [Block((), body)])
        async with scratch.runtime.transaction(scratch.tenant) as session:
            added = await ingest.add_document(
                session, scratch.callers["staff"], reading=read, data=body.encode(), file_name=name,
                stated={"title": "-"}, now=scratch.runtime.clock(),
            )  # fmt: skip
            session.info.pop("jobs", None)
        await ingest.ingest(scratch.runtime, scratch.tenant, added.document.id)


async def _make_building(session: AsyncSession, scratch: Scratch, audience: str) -> None:
    word, _, name = audience.partition(":")
    if word.strip() == "building" and name.strip():
        known = await session.scalar(
            text("SELECT id FROM spaces WHERE community_id = :c AND name = :n"),
            {"c": scratch.community_id, "n": name.strip()},
        )
        if known is None:
            session.add(
                Space(community_id=scratch.community_id, kind=SpaceKind.BUILDING, name=name.strip(), label=name.strip())
            )
            await session.flush()


async def _remove(runtime: Runtime, tenant: Tenant) -> None:
    async with runtime.transaction(tenant) as session:
        await session.execute(text("SELECT drop_community_partitions(:id)"), {"id": tenant.community_id})
        await session.execute(text("DELETE FROM communities WHERE id = :id"), {"id": tenant.community_id})
        await session.execute(text("DELETE FROM organisations WHERE id = :id"), {"id": tenant.organisation_id})
