"""Long work on many rows: imports and exports, their progress, and what was wrong with which row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from app.clock import CLOCK
from app.errors import Conflict, NotFound
from app.people import communities
from app.people.callers import Caller
from app.people.tables import BackgroundJob, BackgroundJobProblem, JobKind, JobStatus
from app.queue import Job, Lane, send_after_commit
from app.runtime import Runtime

JOB = "people.run_background_job"
UNFINISHED = (JobStatus.WAITING, JobStatus.RUNNING)
GAVE_UP = "attempts_used_up"
"""`linli dead` says why; what was done before stays done."""

KIND_SCOPES: dict[JobKind, str] = {
    JobKind.IMPORT_SPACES: "spaces:write",
    JobKind.IMPORT_RESIDENTS: "residents:write",
    JobKind.EXPORT_SPACES: "spaces:read",
    JobKind.EXPORT_RESIDENTS: "residents:write",
    JobKind.IMPORT_ITEMS: "items:write",
    JobKind.IMPORT_INTERACTIONS: "recommendations:write",
}
"""Who may start a job of a kind may also see it and what came out."""


class JobNotFound(NotFound):
    code = "job_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such job.", "没有这个任务。")


class TooManyJobs(Conflict):
    code = "too_many_jobs"

    def __init__(self, jobs_max: int) -> None:
        super().__init__(
            f"{jobs_max} imports and exports are under way already. Wait for one of them.",
            f"已有 {jobs_max} 个导入导出任务在进行，请等待其中之一完成。", jobs_max=jobs_max,
        )  # fmt: skip


class NoFile(Conflict):
    code = "job_has_no_file"

    def __init__(self, status: JobStatus) -> None:
        super().__init__("This job has no file, or not yet.", "该任务没有文件，或文件尚未生成。", status=status)


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a cell. `zh` and `en` are sentences for people."""

    line: int
    column: str
    value: str
    code: str
    zh: str
    en: str


@dataclass(slots=True)
class Outcome:
    """What came of a batch of rows. Rows that were as they should be count as neither created nor changed."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def failed(self) -> int:
        return len({problem.line for problem in self.problems})


def visible_to(caller: Caller) -> Select[BackgroundJob]:
    kinds = [kind for kind, scope in KIND_SCOPES.items() if scope in caller.scopes]
    return select(BackgroundJob).where(BackgroundJob.community_id == caller.community_id, BackgroundJob.kind.in_(kinds))


async def get(session: AsyncSession, caller: Caller, job_id: UUID, *, with_file: bool = False) -> BackgroundJob:
    """Raises JobNotFound."""
    statement = visible_to(caller).where(BackgroundJob.id == job_id)
    if with_file:
        statement = statement.options(undefer(BackgroundJob.file))
    job = (await session.scalars(statement)).one_or_none()
    if job is None:
        raise JobNotFound
    return job


def problems_of(caller: Caller, job: BackgroundJob) -> Select[BackgroundJobProblem]:
    return select(BackgroundJobProblem).where(
        BackgroundJobProblem.community_id == caller.community_id, BackgroundJobProblem.job_id == job.id
    )


async def open_job(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, kind: JobKind, file_name: str, payload: Any, total: int,
    notes: Mapping[str, Any],
) -> BackgroundJob:  # fmt: skip
    """A job that waits for a worker. Raises TooManyJobs."""
    await communities.lock(session, caller)
    unfinished = select(func.count()).where(
        BackgroundJob.community_id == caller.community_id, BackgroundJob.status.in_(UNFINISHED)
    )
    jobs_max = runtime.settings.background_jobs_max
    if (await session.scalar(unfinished) or 0) >= jobs_max:
        raise TooManyJobs(jobs_max)
    now = runtime.clock()
    job = BackgroundJob(
        community_id=caller.community_id, kind=kind, status=JobStatus.WAITING, file_name=file_name, payload=payload,
        total=total, notes=dict(notes), created_by_kind=caller.kind, created_by=caller.id, created_at=now,
        touched_at=now,
    )  # fmt: skip
    session.add(job)
    await session.flush()
    send_after_commit(session, queue_job(job.id, caller.community_id))
    return job


def queue_job(job_id: UUID, community_id: UUID) -> Job:
    return Job(JOB, job_id, community_id, lane=Lane.BATCH)


# What the worker does with one


async def claim(session: AsyncSession, job_id: UUID, *, token: int, now: datetime) -> BackgroundJob | None:
    """The job with its payload, ours from now on; None when it is over or somebody newer has it."""
    taken = (
        update(BackgroundJob)
        .where(BackgroundJob.id == job_id, BackgroundJob.status.in_(UNFINISHED), BackgroundJob.claim_token < token)
        .values(status=JobStatus.RUNNING, claim_token=token, touched_at=now)
        .returning(BackgroundJob.id)
    )
    if await session.scalar(taken) is None:
        return None
    statement = select(BackgroundJob).where(BackgroundJob.id == job_id).options(undefer(BackgroundJob.payload))
    return (await session.scalars(statement.execution_options(populate_existing=True))).one()


async def hold(session: AsyncSession, job_id: UUID, *, token: int) -> BackgroundJob | None:
    """The job, locked, as long as it is still ours; else None."""
    statement = select(BackgroundJob).where(
        BackgroundJob.id == job_id, BackgroundJob.claim_token == token, BackgroundJob.status == JobStatus.RUNNING
    )
    return (await session.scalars(statement.with_for_update())).one_or_none()


def note(session: AsyncSession, job: BackgroundJob, outcome: Outcome, *, rows: int, now: datetime) -> None:
    """Count a batch and keep what was wrong in it."""
    job.next_row += rows
    job.created += outcome.created
    job.changed += outcome.changed
    job.failed += outcome.failed
    job.done += outcome.created + outcome.changed + outcome.unchanged
    job.touched_at = now
    session.add_all(
        BackgroundJobProblem(
            id=CLOCK.new_id(), community_id=job.community_id, job_id=job.id, line=problem.line,
            column_name=problem.column, value=problem.value[:200], code=problem.code, zh=problem.zh, en=problem.en,
        )
        for problem in sorted(outcome.problems, key=lambda one: one.line)
    )  # fmt: skip


def finish(job: BackgroundJob, *, now: datetime, file: bytes | None = None) -> None:
    """The payload may hold names and phone numbers, and is not kept for longer than it is needed."""
    job.status, job.finished_at, job.touched_at, job.payload, job.file = JobStatus.DONE, now, now, [], file


async def give_up(session: AsyncSession, job_id: UUID, *, now: datetime) -> None:
    """Tell who waits that the job will not end."""
    await session.execute(
        update(BackgroundJob)
        .where(BackgroundJob.id == job_id, BackgroundJob.status.in_(UNFINISHED))
        .values(status=JobStatus.FAILED, error=GAVE_UP, finished_at=now, touched_at=now, payload=[])
    )
