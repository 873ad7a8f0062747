"""Wire types of documents, search and approved answers."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.knowledge.language import Language
from app.knowledge.tables import Audience, DocumentStatus
from app.rest.moments import Moment
from app.rest.texts import filled

QuestionText = Annotated[str, filled(500)]
AnswerText = Annotated[str, StringConstraints(strip_whitespace=True, max_length=4_000)]


class FromRow(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class DocumentOut(FromRow):
    """`status` waiting: passages are being embedded (`passages_done` of `passages_count`); ready: it is searched."""

    id: UUID
    source_key: str = Field(description="What this is a version of; a newer version takes its place.")
    version: int
    file_name: str = Field(examples=["parking-rules-2026.md"])
    title: str = Field(examples=["停车管理规定（2026版）"])
    kind: str = Field(examples=["md"])
    language: Language
    audience: Audience
    building_id: UUID | None
    valid_from: datetime | None
    valid_until: datetime | None = Field(description="The first moment at which it no longer holds.")
    replaced_at: datetime | None = Field(description="From when another document is cited instead.")
    replaced_by: UUID | None
    status: DocumentStatus
    error: str | None
    passages_count: int
    passages_done: int
    bytes_count: int
    created_at: datetime
    ready_at: datetime | None


class PassageOut(FromRow):
    id: UUID
    ordinal: int
    headings: list[str]
    text: str
    page: int | None
    language: Language


class SearchIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    question: str = Field(min_length=1, max_length=4_000, examples=["外来车停两个小时多少钱"])
    limit: int = Field(5, ge=1, le=50)
    as_of: Moment | None = Field(None, description="Ask as at another time; needs knowledge:write.")


class ScoresOut(FromRow):
    """`meaning`: cosine with the language's own direction removed; `wording`: BM25; `fused` orders the result."""

    meaning: float
    wording: float
    fused: float


class FoundOut(BaseModel):
    passage_id: UUID
    document_id: UUID
    title: str
    file_name: str
    section: str
    page: int | None
    language: Language
    text: str
    scores: ScoresOut


class QuoteOut(FromRow):
    """`text` stands word for word in the passage, from `start` to `end`."""

    passage_id: UUID
    document_id: UUID
    title: str
    section: str
    page: int | None
    start: int
    end: int
    text: str


class SearchOut(BaseModel):
    """`answer_score`: probability that the passages answer the question; `answered`: whether that is enough."""

    language: Language
    items: list[FoundOut]
    quotes: list[QuoteOut]
    answer_score: float
    answered: bool


class AnswerIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    questions: list[QuestionText] = Field(min_length=1, max_length=50, examples=[["前台几点上班", "物业周末上班吗"]])
    answer_zh: AnswerText = Field("", examples=["前台周一至周五8:30-18:00，周末9:00-17:00。"])
    answer_en: AnswerText = ""
    audience: Audience = Audience.ALL
    document_id: UUID | None = Field(None, description="Its source; once that is out of force the answer rests.")
    enabled: bool = True


class AnswerChange(BaseModel):
    model_config = ConfigDict(extra="forbid")

    questions: list[QuestionText] | None = Field(None, min_length=1, max_length=50)
    answer_zh: AnswerText | None = None
    answer_en: AnswerText | None = None
    audience: Audience | None = None
    document_id: UUID | None = None
    enabled: bool | None = None


class AnswerOut(FromRow):
    id: UUID
    questions: list[str]
    answer_zh: str
    answer_en: str
    audience: Audience
    document_id: UUID | None
    enabled: bool
    hits: int = Field(description="How often it was given.")
    version: int
    created_at: datetime


class HitsOut(BaseModel):
    """The answers given most, most given first."""

    total: int
    items: list[AnswerOut]
