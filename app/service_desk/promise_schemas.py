"""Wire types of promises."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from app.people.callers import CallerKind
from app.people.personal import OfResident
from app.people.schemas import Body, FromRow
from app.rest.moments import Moment
from app.rest.texts import filled
from app.service_desk.promise_tables import PromiseSource, PromiseStatus

Text = Annotated[str, filled(500)]


class PromiseIn(Body):
    text: Text = Field(examples=["明天上午10点前上门"])
    due_at: Moment
    resident_id: UUID | None = Field(None, description="Left out: the reporter of the order.")
    order_id: UUID | None = None


class ConfirmIn(Body):
    """As found, unless put right here."""

    text: Text | None = None
    due_at: Moment | None = None


class WithdrawIn(Body):
    reason: Text = Field(description="The resident reads it.", examples=["配件缺货，改期后另行通知"])


class MyPromiseOut(FromRow):
    id: UUID
    status: PromiseStatus = Field(description="`broken` stays broken, also when it was kept later: see `kept_at`.")
    text: str
    due_at: datetime
    order_id: UUID | None = Field(validation_alias="work_order_id")
    conversation_id: UUID | None
    reason: str
    kept_at: datetime | None
    created_at: datetime


class PromiseOut(MyPromiseOut):
    source: PromiseSource
    by_kind: CallerKind
    by_id: UUID | None
    to_resident_id: OfResident | None
    chase_at: datetime
    chased_at: datetime | None
    decided_by_id: UUID | None
    decided_at: datetime | None
    version: int
