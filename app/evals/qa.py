"""`linli eval qa`: asks every question of a file the way a resident would, and judges what they would see.

Each question goes the real way: a turn is started, its job goes through a queue, the handler answers it, and the
saved turn is read. Only the clock (`as_of`) and the queue's shard, which no worker watches, are the evaluation's own.
"""

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import select
from uuid_utils.compat import uuid7

from app.chat import conversations, jobs
from app.chat.tables import FINAL, Mode, Route, Turn
from app.db import utc_now
from app.errors import AppError
from app.evals.qa_judge import Question, Shown, Verdict, judge
from app.evals.scratch import Scratch, files_below, scratch_community
from app.knowledge.tables import Document, Passage
from app.people.callers import Caller, account_caller
from app.people.tables import (
    Account,
    Household,
    Residency,
    Resident,
    ResidentRole,
    Space,
    SpaceKind,
    Staff,
    StaffRight,
    StaffRole,
)
from app.queue import Lease
from app.runtime import Runtime
from models.engine import EngineBusy, State

LATER = timedelta(days=1)
"""Turns are dated tomorrow, so that the sweeper of a running Linli leaves them to us."""
TAKE_SECONDS = 0.5
DEGRADED_WIDTH = 4
BUSY_TRIES_MAX = 50


@dataclass
class Asked:
    """One question with what came of it."""

    question: Question
    turn: Turn | None
    shown: Shown
    verdict: Verdict

    def row(self) -> dict[str, Any]:
        """Everything about it, for the JSON file."""
        turn, verdict = self.turn, dataclasses.asdict(self.verdict)
        told: dict[str, Any] = {"input": dataclasses.asdict(self.question), "verdict": verdict}
        told |= {"answer": self.shown.words, "failed": self.shown.failed, "mode": self.shown.mode}
        told |= {"cited": sorted(self.shown.cited), "quoted": sorted(self.shown.quoted)}
        if turn is not None:
            trace = turn.trace or {}
            told |= {"route": turn.route, "quotes": turn.quotes, "citations": turn.citations}
            told |= {"passages": trace.get("passages", []), "times": trace.get("times", {}), "trace": trace}
            told |= {"prompt_tokens": turn.prompt_tokens, "completion_tokens": turn.completion_tokens}
        return told


@dataclass
class Result:
    """What an evaluation brought. `refused_files` names documents that could not be read, with the reason's code."""

    asked: list[Asked]
    refused_files: dict[str, str] = field(default_factory=dict)
    engine: str = ""


async def evaluate(
    runtime: Runtime,
    questions: Sequence[Question],
    documents: Path,
    *,
    say: Callable[[str], None] = lambda _: None,
    step: Callable[[Asked], None] = lambda _: None,
) -> Result:
    """Ask all questions in a scratch community that knows `documents`; it is gone afterwards, whatever happens."""
    state = await runtime.engine.state()
    ready = state.state is State.READY
    width = max(1, min(state.slots, runtime.settings.worker_slots_max)) if ready else DEGRADED_WIDTH
    async with scratch_community(runtime, files_below(documents), progress=lambda name: say(f"reading {name}")) as made:
        asking = Asking(made, await _make_people(made, questions), await _files_by_title(made), step)
        say("asking")
        await asking.run(questions, width=width)
        engine = f"{runtime.engine.model_name or 'engine'} ({width} at once)" if ready else f"off ({state.state})"
        order = {id(question): place for place, question in enumerate(questions)}
        asked = sorted(asking.asked, key=lambda one: order[id(one.question)])
        return Result(asked, made.refused, engine)


@dataclass
class Asking:
    """Questions on their way. `waiting` has the runtime and the question of every turn that is not final."""

    scratch: Scratch
    callers: dict[tuple[str, str], Caller]
    files: dict[str, frozenset[str]]
    step: Callable[[Asked], None]
    waiting: dict[UUID, tuple[Runtime, Question]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    busy: dict[UUID, int] = field(default_factory=dict)

    async def run(self, questions: Sequence[Question], *, width: int) -> None:
        """Ask with `width` turns under way."""
        ahead = iter(questions)
        async with asyncio.TaskGroup() as group:
            for _ in range(width):
                group.create_task(self._slot(ahead, len(questions)))

    async def _slot(self, ahead: Any, count: int) -> None:
        queue = self.scratch.runtime.queue
        while len(self.asked) < count:
            if (question := next(ahead, None)) is not None:
                await self._start(question)
            # Whoever has a free hand takes the next job, also one that was put back because the engine was busy.
            for lease in await queue.take(1, wait_seconds=TAKE_SECONDS):
                await self._answer(lease)

    async def _start(self, question: Question) -> None:
        runtime = self.scratch.runtime
        dated = dataclasses.replace(runtime, clock=lambda: utc_now() + LATER)
        caller = self.callers[question.role, question.building]
        try:
            async with runtime.transaction(self.scratch.tenant) as session:
                turn = await conversations.start_turn(
                    session, dated, caller, text=question.text, history=list(question.history) or None
                )
                # The job leaves at the end of this block, and any slot may take it at once.
                self.waiting[turn.id] = (self.scratch.at(question.as_of), question)
        except AppError as refused:
            self._judge(question, None, Shown("", failed=refused.code))

    async def _answer(self, lease: Lease) -> None:
        turn_id, queue = lease.job.row_id, self.scratch.runtime.queue
        if turn_id not in self.waiting:
            await queue.finish(lease)
            return
        runtime, question = self.waiting[turn_id]
        failed = ""
        try:
            await jobs.answer_turn(runtime, lease)
        except EngineBusy as busy:
            self.busy[turn_id] = self.busy.get(turn_id, 0) + 1
            if self.busy[turn_id] < BUSY_TRIES_MAX:
                await queue.retry(lease, delay_seconds=busy.retry_after_seconds)
                return
            failed = "engine_busy"
        except Exception as error:
            # One broken answer is a result of the evaluation, not its end.
            failed = repr(error)
        await queue.finish(lease)
        del self.waiting[turn_id]
        async with runtime.transaction(self.scratch.tenant) as session:
            turn = await session.get_one(Turn, turn_id)
            texts = await self._passages(session, turn)
        if not failed and turn.status not in FINAL:
            failed = f"left {turn.status}"
        self._judge(question, turn, shown_of(turn, texts, self.files, failed=failed or turn.error or ""))

    async def _passages(self, session: Any, turn: Turn) -> tuple[str, ...]:
        ids = [UUID(one["passage_id"]) for one in (turn.trace or {}).get("passages", ())]
        ours = (Passage.community_id == self.scratch.community_id) & Passage.id.in_(ids)
        return tuple((await session.scalars(select(Passage.text).where(ours))).all()) if ids else ()

    def _judge(self, question: Question, turn: Turn | None, shown: Shown) -> None:
        self.asked.append(Asked(question, turn, shown, judge(question, shown)))
        self.step(self.asked[-1])


def shown_of(turn: Turn, passages: Sequence[str], files: dict[str, frozenset[str]], *, failed: str = "") -> Shown:
    """What the resident saw of a saved turn. `files` are file names by document title."""
    times = (turn.trace or {}).get("times", {})
    headings = [f"《{one.get('document', '')}》{one.get('section', '')}" for one in turn.quotes]
    return Shown(
        words=turn.answer or "",
        quotes=tuple(str(one["quote"]) for one in turn.quotes),
        refused=turn.mode is Mode.FIXED and turn.route is not Route.APPROVED,
        failed=failed,
        cited=_files(turn.citations, files),
        quoted=_files(turn.quotes, files),
        passages=(*passages, *headings),
        numbers_matter=turn.route is not Route.APPROVED,
        mode=str(turn.mode or "none"),
        quote_ms=times.get("quotes_ms"),
        total_ms=times.get("total_ms"),
    )


def _files(entries: Sequence[dict[str, Any]], files: dict[str, frozenset[str]]) -> frozenset[str]:
    named = {str(one["file"]) for one in entries if one.get("file")}
    return frozenset(named).union(*(files.get(str(one.get("document")), frozenset()) for one in entries))


async def _files_by_title(scratch: Scratch) -> dict[str, frozenset[str]]:
    ours = Document.community_id == scratch.community_id
    async with scratch.runtime.transaction(scratch.tenant) as session:
        rows = (await session.execute(select(Document.title, Document.file_name).where(ours))).all()
    return {title: frozenset(name for other, name in rows if other == title) for title, _ in rows}


# People, as rows: the chat looks up who asks and what rights they have now


async def _make_people(scratch: Scratch, questions: Sequence[Question]) -> dict[tuple[str, str], Caller]:
    """A caller for every role and building that the questions name. A resident is a verified tenant."""
    callers = {}
    for role, building in sorted({(question.role, question.building) for question in questions}):
        async with scratch.runtime.transaction(scratch.tenant) as session:
            account = Account(
                id=uuid7(), organisation_id=scratch.tenant.organisation_id, login=f"{role}-{uuid7().hex}", name="评测"
            )
            session.add(account)
            await session.flush()
            if role == "staff":
                await _add_staff(session, scratch, account)
            else:
                await _add_resident(session, scratch, account, owner=role == "owner", building=building)
            callers[role, building] = await account_caller(session, scratch.tenant, account.id)
    return callers


async def _add_staff(session: Any, scratch: Scratch, account: Account) -> None:
    staff = Staff(id=uuid7(), organisation_id=account.organisation_id, account_id=account.id, name=account.name)
    session.add(staff)
    await session.flush()
    session.add(
        StaffRight(
            organisation_id=account.organisation_id, staff_id=staff.id, community_id=scratch.community_id,
            role=StaffRole.FRONT_DESK,
        )
    )  # fmt: skip
    await session.flush()


async def _add_resident(session: Any, scratch: Scratch, account: Account, *, owner: bool, building: str) -> None:
    community_id = scratch.community_id
    home = await _building(session, community_id, building or "评测楼")
    room = Space(
        id=uuid7(), community_id=community_id, parent_id=home, building_id=home, kind=SpaceKind.ROOM,
        name=account.login, label=account.login,
    )  # fmt: skip
    resident = Resident(id=uuid7(), community_id=community_id, account_id=account.id, name=account.name)
    session.add_all([room, resident])
    await session.flush()
    household = Household(id=uuid7(), community_id=community_id, room_id=room.id)
    session.add(household)
    await session.flush()
    session.add(
        Residency(
            community_id=community_id, resident_id=resident.id, household_id=household.id, building_id=home,
            role=ResidentRole.OWNER if owner else ResidentRole.TENANT, verified_at=utc_now(),
        )
    )  # fmt: skip
    await session.flush()


async def _building(session: Any, community_id: UUID, name: str) -> UUID:
    """The building of that name, which a document's audience may have made already."""
    known = (Space.community_id == community_id) & (Space.kind == SpaceKind.BUILDING) & (Space.name == name)
    found: UUID | None = await session.scalar(select(Space.id).where(known))
    if found is not None:
        return found
    building = Space(id=uuid7(), community_id=community_id, kind=SpaceKind.BUILDING, name=name, label=name)
    building.building_id = building.id
    session.add(building)
    await session.flush()
    return building.id
