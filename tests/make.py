"""One line per noun: `await make.resident(role=…)` writes the rows a test needs and gives back who or what it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import time
from hashlib import sha256
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text, update

from app.db import Tenant
from app.knowledge import ingest, reading
from app.people.callers import Caller, account_caller
from app.people.tables import (
    Account,
    ApiKey,
    Community,
    Household,
    Organisation,
    Residency,
    Resident,
    ResidentRole,
    RotaEntry,
    Space,
    SpaceKind,
    Staff,
    StaffRight,
    StaffRole,
    StaffShift,
)
from app.runtime import Runtime
from app.service_desk import work_orders
from app.service_desk.tables import Channel, OrderKind, Status, WorkOrder
from app.service_desk.transitions import ENDED, HANDLED

NUMBERS = count(1)


@dataclass(frozen=True)
class Place:
    """A community of the tests."""

    tenant: Tenant
    slug: str
    name: str

    @property
    def id(self) -> UUID:
        assert self.tenant.community_id is not None
        return self.tenant.community_id

    @property
    def url(self) -> str:
        return f"/api/v1/communities/{self.id}"


@dataclass(frozen=True)
class Person:
    """A resident or a member of staff with a way to sign in."""

    place: Place
    account_id: UUID
    id: UUID
    login: str
    household_id: UUID | None = None

    @property
    def tenant(self) -> Tenant:
        return self.place.tenant


@dataclass(frozen=True)
class Order:
    """A work order and who reported it."""

    place: Place
    id: UUID
    number: int
    reporter: Person

    @property
    def url(self) -> str:
        """For staff; the reporter's is `/api/v1/me/workorders/{id}`."""
        return f"{self.place.url}/workorders/{self.id}"


class Make:
    """Rows for one test. Without a `place` everything goes into one community, made on first use."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._home: Place | None = None
        self.communities: set[UUID] = set()

    async def place(self, *, organisation_id: UUID | None = None, name: str = "桃源里") -> Place:
        number = next(NUMBERS)
        tenant = Tenant(organisation_id or uuid4(), uuid4())
        slug = f"place-{number}-{uuid4().hex[:8]}"
        async with self._runtime.transaction(tenant) as session:
            if organisation_id is None:
                session.add(Organisation(id=tenant.organisation_id, name="和悦物业"))
                await session.flush()
            session.add(Community(id=tenant.community_id, organisation_id=tenant.organisation_id, slug=slug, name=name))
            await session.flush()
            await session.execute(text("SELECT create_community_partitions(:id)"), {"id": tenant.community_id})
        place = Place(tenant, slug, name)
        self.communities.add(place.id)
        return place

    async def home(self) -> Place:
        """The community of this test."""
        if self._home is None:
            self._home = await self.place()
        return self._home

    async def building(self, *, place: Place | None = None, name: str | None = None) -> UUID:
        place = place or await self.home()
        building = Space(
            id=uuid4(), community_id=place.id, kind=SpaceKind.BUILDING, name=name or f"{next(NUMBERS)}栋", label=""
        )
        building.label, building.building_id = building.name, building.id
        async with self._runtime.transaction(place.tenant) as session:
            session.add(building)
        return building.id

    async def resident(
        self, *, place: Place | None = None, role: ResidentRole = ResidentRole.TENANT, verified: bool = True,
        building_id: UUID | None = None, language: str = "zh", household_id: UUID | None = None,
    ) -> Person:  # fmt: skip
        """Somebody with a home of their own, or in a household that is there."""
        place = place or await self.home()
        building_id = building_id or await self.building(place=place)
        login = f"resident-{next(NUMBERS)}-{uuid4().hex[:6]}"
        account, resident = uuid4(), uuid4()
        household, room = household_id or uuid4(), uuid4()
        async with self._runtime.transaction(place.tenant) as session:
            session.add(Account(id=account, organisation_id=place.tenant.organisation_id, login=login, name="住户"))
            number = f"{next(NUMBERS)}室"
            session.add(
                Space(
                    id=room, community_id=place.id, parent_id=building_id, building_id=building_id,
                    kind=SpaceKind.ROOM, name=number, label=number,
                )
            )  # fmt: skip
            await session.flush()
            if household_id is None:
                session.add(Household(id=household, community_id=place.id, room_id=room))
            session.add(
                Resident(
                    id=resident, community_id=place.id, account_id=account, name="住户", phone="", language=language
                )
            )
            await session.flush()
            session.add(
                Residency(
                    community_id=place.id, resident_id=resident, household_id=household, building_id=building_id,
                    role=role, verified_at=self._runtime.clock() if verified else None,
                )
            )  # fmt: skip
        return Person(place, account, resident, login, household)

    async def staff(
        self, *, place: Place | None = None, role: StaffRole = StaffRole.MANAGER, password_hash: str | None = None,
        name: str = "员工", skills: Sequence[str] = (), phone: str = "",
    ) -> Person:  # fmt: skip
        place = place or await self.home()
        login = f"staff-{next(NUMBERS)}-{uuid4().hex[:6]}"
        account, staff = uuid4(), uuid4()
        organisation_id = place.tenant.organisation_id
        async with self._runtime.transaction(place.tenant) as session:
            session.add(
                Account(
                    id=account, organisation_id=organisation_id, login=login, name=name, password_hash=password_hash
                )
            )
            await session.flush()
            session.add(
                Staff(
                    id=staff, organisation_id=organisation_id, account_id=account, name=name, phone=phone,
                    skills=sorted(skills),
                )
            )  # fmt: skip
            await session.flush()
            session.add(StaffRight(organisation_id=organisation_id, staff_id=staff, community_id=place.id, role=role))
        return Person(place, account, staff, login)

    async def shift(self, person: Person, from_time: str = "00:00", to_time: str = "00:00", **columns: Any) -> UUID:
        """A shift on every day, the whole day, unless told otherwise."""
        return await self._recurring(StaffShift, person, from_time, to_time, columns)

    async def on_call(
        self, person: Person, level: int = 1, from_time: str = "00:00", to_time: str = "00:00", **columns: Any
    ) -> UUID:
        """A place on the rota, always unless told otherwise."""
        return await self._recurring(RotaEntry, person, from_time, to_time, {"level": level, **columns})

    async def _recurring(
        self, table: type[StaffShift | RotaEntry], person: Person, from_time: str, to_time: str, columns: dict[str, Any]
    ) -> UUID:
        row = table(
            id=uuid4(), community_id=person.place.id, staff_id=person.id, from_time=time.fromisoformat(from_time),
            to_time=time.fromisoformat(to_time), **columns,
        )  # fmt: skip
        async with self._runtime.transaction(person.tenant) as session:
            session.add(row)
        return row.id

    async def api_key(self, *scopes: str, place: Place | None = None, **columns: Any) -> str:
        """The secret of a new key."""
        place = place or await self.home()
        key_id = uuid4()
        secret = f"lk_{key_id.hex}_{uuid4().hex}"
        async with self._runtime.transaction(place.tenant) as session:
            session.add(
                ApiKey(
                    id=key_id, organisation_id=place.tenant.organisation_id, community_id=place.id, name="key",
                    secret_hash=sha256(secret.encode()).hexdigest(), scopes=list(scopes), **columns,
                )
            )  # fmt: skip
        return secret

    async def caller(self, person: Person) -> Caller:
        """The caller behind a person, for functions called without HTTP."""
        async with self._runtime.transaction(person.tenant) as session:
            return await account_caller(session, person.tenant, person.account_id)

    async def document(self, title: str, text: str, *, place: Place | None = None, **stated: Any) -> UUID:
        """A document in force, ready to be found. `stated`: audience, valid_from, valid_to, replaces, source_key."""
        place = place or await self.home()
        data = text.encode()
        author = await self.caller(await self.staff(place=place))
        read = await reading.read(self._runtime.settings, data, f"{title}.md")
        async with self._runtime.transaction(place.tenant) as session:
            added = await ingest.add_document(
                session, author, reading=read, data=data, file_name=f"{title}.md",
                stated={"title": title, **stated}, now=self._runtime.clock(),
            )  # fmt: skip
        await ingest.ingest(self._runtime, place.tenant, added.document.id)
        await self._runtime.queue.cancel(ingest.JOB, added.document.id)
        return added.document.id

    async def work_order(
        self, *, status: Status = Status.SUBMITTED, reporter: Person | None = None, place: Place | None = None,
        text: str = "厨房水管漏水", kind: OrderKind = OrderKind.REPAIR, assignee: Person | None = None, **columns: Any,
    ) -> Order:  # fmt: skip
        """An order of a resident, brought into `status` without its moves; `columns` of its row are set as given."""
        reporter = reporter or await self.resident(place=place)
        now = self._runtime.clock()
        async with self._runtime.transaction(reporter.tenant) as session:
            opened = await work_orders.open_order(
                # Not by their own hand, of which there are so many a day.
                session,
                self._runtime,
                await self.caller(reporter),
                kind=kind,
                text=text,
                channel=Channel.STAFF,
            )
            values: dict[str, Any] = {
                "channel": Channel.SELF,
                "status": status,
                "assignee_id": assignee.id if assignee else None,
            }
            if status in HANDLED | ENDED:
                values["completed_at"] = now if status in HANDLED else None
                values["closed_at"] = now if status in ENDED else None
            await session.execute(update(WorkOrder).where(WorkOrder.id == opened.id).values(**values | columns))
        await self._runtime.queue.cancel(work_orders.TRIAGE, opened.id)
        return Order(reporter.place, opened.id, opened.number, reporter)
