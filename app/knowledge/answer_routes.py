"""Approved answers (标准答案) over REST."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Response

from app.knowledge import answers
from app.knowledge.schemas import AnswerChange, AnswerIn, AnswerOut, HitsOut
from app.knowledge.tables import ApprovedAnswer
from app.people.callers import Caller, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.rest.etags import IfMatch, if_match_of
from app.rest.idempotency import OnceDep
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep

router = APIRouter(prefix="/answers", route_class=DoorRoute)

Reader = Annotated[Caller, Depends(require_in_community("knowledge:read"))]
Writer = Annotated[Caller, Depends(require_in_community("knowledge:write"))]
PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
HITS_ROWS = 50


def _out(response: Response, answer: ApprovedAnswer) -> AnswerOut:
    response.headers["ETag"] = _etag(answer)
    return AnswerOut.model_validate(answer)


def _etag(answer: ApprovedAnswer) -> str:
    return f'"{answer.id}.{answer.version}"'


@router.get("")
async def get_answers(caller: Reader, session: SessionDep, page: PageDep) -> Page[AnswerOut]:
    """Approved answers that are meant for the caller."""
    rows, cursor = await fetch_page(session, answers.visible_to(caller), id_column=ApprovedAnswer.id, query=page)
    return Page(items=[AnswerOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.get("/hits")
async def get_hits(caller: Writer, session: SessionDep) -> HitsOut:
    """Which approved answers are given most."""
    most = answers.visible_to(caller).order_by(ApprovedAnswer.hits.desc(), ApprovedAnswer.id).limit(HITS_ROWS)
    rows = (await session.scalars(most)).all()
    total = await answers.hits_in_all(session, caller)
    return HitsOut(total=total, items=[AnswerOut.model_validate(row) for row in rows])


@router.post("", status_code=201, response_model=AnswerOut)
async def post_answer(
    body: AnswerIn, runtime: RuntimeDep, caller: Writer, session: SessionDep, once: OnceDep
) -> Response:
    """Approve an answer: from now on it is given, as it stands, to questions close to one of `questions`."""
    # Embedded before the first statement, so no connection is held meanwhile.
    vectors = await runtime.embedder.embed_queries(body.questions)
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    answer = await answers.open_answer(
        session, caller, embedder=runtime.embedder, vectors=vectors, now=runtime.clock(), **body.model_dump()
    )
    return await once.keep(session, 201, AnswerOut.model_validate(answer))


@router.get("/{answer_id}")
async def get_answer(answer_id: UUID, caller: Reader, session: SessionDep, response: Response) -> AnswerOut:
    return _out(response, await answers.get_answer(session, caller, answer_id))


@router.patch("/{answer_id}")
async def patch_answer(
    answer_id: UUID, body: AnswerChange, runtime: RuntimeDep, caller: Writer, session: SessionDep, response: Response,
    if_match: IfMatchDep,
) -> AnswerOut:  # fmt: skip
    changes = {
        name: value
        for name, value in body.model_dump(exclude_unset=True).items()
        if value is not None or name == "document_id"
    }
    vectors = await runtime.embedder.embed_queries(changes["questions"]) if "questions" in changes else None
    answer = await answers.get_answer(session, caller, answer_id)
    if_match.check(_etag(answer))
    await answers.change_answer(
        session, caller, answer, changes, embedder=runtime.embedder, vectors=vectors, now=runtime.clock()
    )
    return _out(response, answer)


@router.delete("/{answer_id}", status_code=204)
async def delete_answer(answer_id: UUID, caller: Writer, session: SessionDep) -> None:
    await answers.delete_answer(session, await answers.get_answer(session, caller, answer_id))
