"""`linli knowledge reembed`: what a community knows, embedded again after another embedder was set.

The workers embed, a few documents at a time, so that residents' questions still find room in the queue.
"""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID

from sqlalchemy import ARRAY, String, any_, delete, func, literal, select, update

from app.db import Tenant
from app.errors import Conflict, Unavailable
from app.knowledge.ingest import embedder_key, job_of
from app.knowledge.tables import ApprovedAnswer, ApprovedQuestion, Document, DocumentStatus, EmbeddingState, Passage
from app.people.callers import CommunityNotFound
from app.people.sign_in import find_tenant
from app.runtime import Runtime

JOBS_AT_ONCE = 50
"""A community's place in the queue is limited, and its residents ask meanwhile."""
POLL_SECONDS = 0.5
STALL_SECONDS = 120.0


class NothingEmbeds(Unavailable):
    code = "nothing_embeds"

    def __init__(self, left: int) -> None:
        super().__init__(
            f"{left} documents wait, and none moved for {STALL_SECONDS:.0f} seconds. They go on by themselves once a "
            "worker runs.",
            f"还有 {left} 份文档等待，{STALL_SECONDS:.0f} 秒内没有进展。worker 运行后会自动继续。",
            retry_after_seconds=STALL_SECONDS,
        )


class WorkersDiffer(Conflict):
    code = "workers_embed_differently"

    def __init__(self, theirs: str, ours: str) -> None:
        super().__init__(
            f"The workers embed with {theirs}, this command with {ours}. Start Linli again with the new settings, then "
            "repeat this command.",
            f"worker 使用 {theirs}，本命令使用 {ours}。请用新设置重启 Linli，再运行本命令。",
            theirs=theirs,
            ours=ours,
        )


async def reembed_community(runtime: Runtime, *, slug: str, show: Callable[[int, int], None]) -> list[tuple[str, str]]:
    """Embed everything of a community again and wait for it. `show` gets the documents done and all of them.

    Returns title and error code of each document that failed. Raises CommunityNotFound, NothingEmbeds, WorkersDiffer.
    """
    tenant = await find_tenant(runtime, slug)
    if tenant is None:
        raise CommunityNotFound
    total = await start(runtime, tenant)
    await _wait(runtime, tenant, lambda left: show(total - left, total))
    async with runtime.transaction(tenant) as session:
        embedders = await session.scalars(
            select(EmbeddingState.embedder).where(EmbeddingState.community_id == tenant.community_id).distinct()
        )
        others = [name for name in embedders if name != embedder_key(runtime.embedder)]
        failed = await session.execute(
            select(Document.title, Document.error).where(
                Document.community_id == tenant.community_id, Document.status == DocumentStatus.FAILED
            )
        )
        rows = [(row.title, row.error or "") for row in failed]
    if others:
        raise WorkersDiffer(others[0], embedder_key(runtime.embedder))
    return rows


async def start(runtime: Runtime, tenant: Tenant) -> int:
    """Take the old vectors away and embed the approved answers. The number of documents that now wait for a worker.

    What was replaced stays so meanwhile: an outdated notice must not be cited because it was embedded first.
    """
    ours = tenant.community_id
    async with runtime.transaction(tenant) as session:
        kept = await session.scalars(select(ApprovedAnswer.questions).where(ApprovedAnswer.community_id == ours))
        wordings = sorted({wording for questions in kept for wording in questions})
    vectors = dict(zip(wordings, await runtime.embedder.embed_queries(wordings), strict=True))
    async with runtime.transaction(tenant) as session:
        await session.execute(delete(EmbeddingState).where(EmbeddingState.community_id == ours))
        await session.execute(delete(Passage).where(Passage.community_id == ours))
        # A wording that staff added since has its vector from the web process.
        seen = ApprovedQuestion.text == any_(literal(wordings, ARRAY(String)))
        await session.execute(delete(ApprovedQuestion).where(ApprovedQuestion.community_id == ours, seen))
        answers = await session.scalars(select(ApprovedAnswer).where(ApprovedAnswer.community_id == ours))
        session.add_all(
            ApprovedQuestion(
                community_id=ours, answer_id=answer.id, text=wording, embedder=embedder_key(runtime.embedder),
                embedding=vectors[wording],
            )
            for answer in answers
            for wording in answer.questions
            if wording in vectors
        )  # fmt: skip
        waiting = update(Document).where(Document.community_id == ours)
        waiting = waiting.values(status=DocumentStatus.WAITING, error=None, passages_done=0)
        return len((await session.scalars(waiting.returning(Document.id))).all())


async def send_some(runtime: Runtime, tenant: Tenant) -> tuple[int, int]:
    """Send the jobs of the next documents that wait; one that was sent before is not doubled.

    How many documents wait, and how many passages of theirs are done: while either changes, somebody embeds.
    """
    assert tenant.community_id is not None
    ours = (Document.community_id == tenant.community_id) & (Document.status == DocumentStatus.WAITING)
    async with runtime.transaction(tenant) as session:
        counted = select(func.count(), func.coalesce(func.sum(Document.passages_done), 0)).where(ours)
        left, passages = (await session.execute(counted)).one()
        following = select(Document.id).where(ours).order_by(Document.id).limit(JOBS_AT_ONCE)
        ids: list[UUID] = list(await session.scalars(following))
    for document_id in ids:
        await runtime.send(job_of(document_id, tenant.community_id))
    return int(left), int(passages)


async def _wait(runtime: Runtime, tenant: Tenant, show: Callable[[int], None]) -> None:
    seen, since = (-1, -1), time.monotonic()
    while True:
        now = await send_some(runtime, tenant)
        show(now[0])
        if not now[0]:
            return
        if now != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > STALL_SECONDS:
            raise NothingEmbeds(now[0])
        await asyncio.sleep(POLL_SECONDS)
