"""Documents, search and approved answers over REST."""

from datetime import datetime
from hashlib import sha256
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, File, Form, Header, Request, Response, UploadFile

from app.errors import Invalid
from app.knowledge import answer_routes, documents, evidence, ingest, quotes, reading, search
from app.knowledge.schemas import (
    DocumentOut,
    FoundOut,
    PassageOut,
    QuoteOut,
    ScoresOut,
    SearchIn,
    SearchOut,
)
from app.knowledge.tables import Document, Passage
from app.people.callers import Caller, ScopeMissing, SessionDep, require_in_community
from app.people.doors import DoorRoute
from app.rest.idempotency import Once
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import Runtime, RuntimeDep

router = APIRouter(prefix="/communities/{cid}", tags=["knowledge"], route_class=DoorRoute)
router.include_router(answer_routes.router)

Reader = Annotated[Caller, Depends(require_in_community("knowledge:read"))]
Writer = Annotated[Caller, Depends(require_in_community("knowledge:write"))]
PageDep = Annotated[PageQuery, Depends(page_query)]
Short = Annotated[str | None, Form(max_length=300)]


class QuestionEmpty(Invalid):
    code = "question_empty"

    def __init__(self) -> None:
        super().__init__("The question is empty.", "问题不能为空。")


UPLOAD_BODY_BYTES_MAX = 110_000_000
"""Of a whole upload; `upload_bytes_max` limits the file within it."""


@router.get("/documents")
async def get_documents(runtime: RuntimeDep, caller: Reader, session: SessionDep, page: PageDep) -> Page[DocumentOut]:
    """Newest first. Those who keep the documents see every version, others what is in force and meant for them."""
    statement = documents.visible_documents(caller, runtime.clock())
    rows, cursor = await fetch_page(session, statement, id_column=Document.id, query=page, newest_first=True)
    return Page(items=[DocumentOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post(
    "/documents", status_code=201, response_model=DocumentOut, responses={200: {"model": DocumentOut}},
    max_body_size=UPLOAD_BODY_BYTES_MAX,
)  # fmt: skip
async def post_document(
    request: Request, runtime: RuntimeDep, caller: Writer, session: SessionDep,
    file: Annotated[UploadFile, File(description="md, txt, html, pdf, docx or xlsx.")],
    title: Short = None,
    audience: Annotated[Short, Form(description="all, owners, staff or building:NAME", examples=["all"])] = None,
    valid_from: Annotated[Short, Form(description="A date or an RFC 3339 time.")] = None,
    valid_to: Annotated[Short, Form(description="The last day on which it holds, or the time when it ends.")] = None,
    replaces: Annotated[Short, Form(description="source_key of the document whose place it takes.")] = None,
    source_key: Annotated[Short, Form(description="What this is a version of; the file name by default.")] = None,
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> Response:  # fmt: skip
    """Add a document. It is read at once (a file that cannot be read is refused) and searched when `status` is ready.

    The same content again changes nothing (200); a newer version of a source takes the older one's place. Fields go
    before the YAML header of a Markdown file.
    """
    data = await file.read(runtime.settings.upload_bytes_max + 1)
    stated = {
        "title": title, "audience": audience, "valid_from": valid_from, "valid_to": valid_to, "replaces": replaces,
        "source_key": source_key,
    }  # fmt: skip
    name = (file.filename or "document").replace("\\", "/").rsplit("/", 1)[-1].replace("\x00", "")[:200] or "document"
    # Read before the first statement, so no connection is held while the parser runs.
    read = await reading.read(runtime.settings, data, name)
    once = Once(request, idempotency_key, sha256(data + repr((name, stated)).encode()).hexdigest())
    if replayed := await once.replay(session, caller.community_id, caller.key):
        return replayed
    added = await ingest.add_document(
        session, caller, reading=read, data=data, file_name=name, stated=stated, now=runtime.clock()
    )
    return await once.keep(session, 201 if added.created else 200, DocumentOut.model_validate(added.document))


@router.get("/documents/{document_id}")
async def get_document(runtime: RuntimeDep, document_id: UUID, caller: Reader, session: SessionDep) -> DocumentOut:
    document = await documents.get_document(session, caller, document_id, as_of=runtime.clock())
    return DocumentOut.model_validate(document)


@router.delete("/documents/{document_id}", status_code=204)
async def delete_document(runtime: RuntimeDep, document_id: UUID, caller: Writer, session: SessionDep) -> None:
    """Take it away with its older versions. What it had replaced under another source_key is cited again."""
    document = await documents.get_document(session, caller, document_id, as_of=runtime.clock())
    await documents.delete_document(session, caller, document, runtime.embedder)


@router.get("/documents/{document_id}/passages")
async def get_passages(
    runtime: RuntimeDep, document_id: UUID, caller: Reader, session: SessionDep, page: PageDep
) -> Page[PassageOut]:
    """What is searched and cited of a document, in order."""
    document = await documents.get_document(session, caller, document_id, as_of=runtime.clock())
    statement = documents.passages_of(caller, document)
    rows, cursor = await fetch_page(session, statement, id_column=Passage.id, query=page)
    return Page(items=[PassageOut.model_validate(row) for row in rows], next_cursor=cursor)


@router.post("/search")
async def post_search(body: SearchIn, runtime: RuntimeDep, caller: Reader) -> SearchOut:
    """The passages that answer a question, with their scores and the sentences to quote."""
    if not body.question.strip():
        raise QuestionEmpty
    if body.as_of is not None and "knowledge:write" not in caller.scopes:
        raise ScopeMissing("knowledge:write")
    return await _searched(runtime, caller, body, as_of=body.as_of or runtime.clock())


async def _searched(runtime: Runtime, caller: Caller, body: SearchIn, *, as_of: datetime) -> SearchOut:
    question = await search.prepare(runtime.embedder, body.question)
    async with runtime.transaction(caller.tenant) as session:
        results = await search.search(
            session, caller, question, as_of=as_of, limit=body.limit, candidates=runtime.settings.search_candidates
        )
    judgement = evidence.judge(results)
    chosen = quotes.choose(results, limit=runtime.settings.quotes_per_answer_max)
    return SearchOut(
        language=question.language,
        items=[
            FoundOut(
                passage_id=found.passage_id, document_id=found.document_id, title=found.title,
                file_name=found.file_name, section=found.section, page=found.page, language=found.language,
                text=found.text, scores=ScoresOut.model_validate(found.scores),
            )
            for found in results.found
        ],
        quotes=[QuoteOut.model_validate(quote) for quote in chosen],
        answer_score=judgement.score,
        answered=judgement.answers(runtime.settings.answerable_score_min),
    )  # fmt: skip
