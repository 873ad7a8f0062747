"""Wire types of imports, exports and their jobs."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from app.people.schemas import Body, FromRow
from app.people.tables import JobKind, JobStatus

SheetFormat = Literal["csv", "xlsx"]


class ExportIn(Body):
    format: SheetFormat = "xlsx"


class JobOut(FromRow):
    """Rows that are `done` are as the file says, some `created` or `changed` now; `failed` ones were left out."""

    id: UUID
    kind: JobKind
    status: JobStatus
    file_name: str
    total: int = Field(description="Rows of the file.")
    done: int
    created: int
    changed: int
    failed: int
    error: str | None = Field(description="Why the whole job failed.")
    notes: dict[str, Any] = Field(description="Headings that were passed over; the format of an export.")
    created_at: datetime
    finished_at: datetime | None


class JobProblemOut(FromRow):
    """What is wrong with one cell of a row that was left out."""

    id: UUID
    line: int = Field(description="In the file, from 1, the heading counted.")
    column: str = Field(validation_alias="column_name", examples=["状态"])
    value: str
    code: str = Field(examples=["cell_unknown"])
    zh: str
    en: str
