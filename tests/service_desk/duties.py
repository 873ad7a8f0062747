"""Orders that triage has looked at, and what came of them as staff see it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select

from app.people.callers import system_caller
from app.people.tables import StaffRole
from app.runtime import Runtime
from app.service_desk import categories, work_orders
from app.service_desk.tables import EventKind, Urgency, WorkOrder, WorkOrderCategory
from tests.conftest import Client, Clock
from tests.make import Make, Order, Person


@dataclass
class Desk:
    """A community with its manager; `triage` does what triage does at its end."""

    client: Client
    make: Make
    runtime: Runtime
    clock: Clock
    manager: Person

    async def plumber(self, *skills: str, shift: bool = True, **known: Any) -> Person:
        person = await self.make.staff(role=StaffRole.ENGINEER, skills=skills or ("plumbing",), **known)
        if shift:
            await self.make.shift(person)
        return person

    async def setting(self, **values: Any) -> None:
        answer = await self.client.patch(
            f"{self.manager.place.url}/settings", json=values, headers={"If-Match": "*"}, as_=self.manager
        )
        assert answer.status_code == 200, answer.text

    async def triage(
        self, order: Order, code: str = "plumbing", *, urgency: Urgency = Urgency.ROUTINE, needs_person: bool = False
    ) -> None:
        caller = system_caller(order.place.tenant)
        async with self.runtime.transaction(order.place.tenant) as session:
            await categories.ensure_defaults(session, caller)
            category = await session.scalar(select(WorkOrderCategory).where(WorkOrderCategory.code == code))
            assert category is not None
            row = await work_orders.lock(session, caller, order.id)
            row.category_id, row.urgency, row.triage = category.id, urgency, {"by": "test"}
            row.needs_person = needs_person
            await work_orders.record(session, self.runtime, caller, row, EventKind.TRIAGED)

    async def triaged(self, code: str = "plumbing", **how: Any) -> Order:
        order = await self.make.work_order()
        await self.triage(order, code, **how)
        return order

    async def seen(self, order: Order, who: Person | None = None) -> dict[str, Any]:
        answer = await self.client.get(order.url, as_=who or self.manager)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def row(self, order: Order) -> WorkOrder:
        async with self.runtime.transaction(order.place.tenant) as session:
            return await session.get_one(WorkOrder, order.id)

    async def events(self, order: Order, *kinds: str) -> list[dict[str, Any]]:
        listed = await self.client.get(f"{order.url}/events?limit=200", as_=self.manager)
        return [event for event in listed.json()["items"] if not kinds or event["kind"] in kinds]

    async def told(self, who: Person) -> list[str]:
        """The kinds of what somebody was told, oldest first."""
        listed = await self.client.get("/api/v1/me/messages", as_=who)
        return [message["kind"] for message in reversed(listed.json()["items"])]

    async def post(self, order: Order, verb: str, who: Person, **body: Any) -> Any:
        return await self.client.post(f"{order.url}/{verb}", json=body, as_=who)

    def later(self, **time: float) -> None:
        self.clock.now += timedelta(**time)
