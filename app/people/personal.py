"""Which ids on the wire stand for somebody whose personal data is shown beside them.

A field of an answer that is typed `OfResident` says: this object tells something personal of that resident. From that
alone follow which reads go into the audit log, and into whose access log (audit.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, TypeVar, get_args
from uuid import UUID

from pydantic import BaseModel


class Whose(StrEnum):
    """RESIDENT and HOUSEHOLD lead to residents; OTHER is personal without telling whose it is."""

    RESIDENT = "resident"
    HOUSEHOLD = "household"
    STAFF = "staff"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Personal:
    whose: Whose


OfResident = Annotated[UUID, Personal(Whose.RESIDENT)]
OfHousehold = Annotated[UUID, Personal(Whose.HOUSEHOLD)]
OfStaff = Annotated[UUID, Personal(Whose.STAFF)]
OfSomebody = Annotated[UUID, Personal(Whose.OTHER)]
"""The route says whose it is with `audit.about`."""


@dataclass(frozen=True, slots=True)
class _Marked:
    """A field that matters: what its value stands for, or None where models with such fields may be in it."""

    name: str
    whose: Whose | None


def ids_shown(shown: Any) -> dict[Whose, set[UUID]]:
    """The marked ids in an answer."""
    found: dict[Whose, set[UUID]] = defaultdict(set)
    for whose, value in _walk(shown):
        found[whose].add(value)
    return dict(found)


def _walk(value: Any) -> Iterator[tuple[Whose, UUID]]:
    if isinstance(value, BaseModel):
        for field in _marked(type(value)):
            inner = getattr(value, field.name)
            if field.whose is None:
                yield from _walk(inner)
            elif inner is not None:
                yield from ((field.whose, one) for one in (inner if isinstance(inner, list) else [inner]))
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _walk(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _walk(inner)


def tells_personal_data(answer: Any) -> bool:
    """Whether an answer of this type can hold marked ids."""
    return _tells(answer, set())


def _tells(annotation: Any, seen: set[Any]) -> bool:
    for model in _models(annotation):
        if model in seen:
            continue
        seen.add(model)
        fields = model.model_fields.values()
        if any(_whose(one.annotation, one.metadata) or _tells(one.annotation, seen) for one in fields):
            return True
    return False


@cache
def _marked(model: type[BaseModel]) -> tuple[_Marked, ...]:
    found = []
    for name, field in model.model_fields.items():
        whose = _whose(field.annotation, field.metadata)
        if whose is not None or _may_hold_models(field.annotation):
            found.append(_Marked(name, whose))
    return tuple(found)


def _whose(annotation: Any, metadata: Iterable[Any]) -> Whose | None:
    """The mark of a field, also within `OfResident | None` and `list[OfResident]`."""
    for one in (*metadata, *getattr(annotation, "__metadata__", ())):
        if isinstance(one, Personal):
            return one.whose
    for inner in get_args(annotation):
        if (whose := _whose(inner, ())) is not None:
            return whose
    return None


def _may_hold_models(annotation: Any) -> bool:
    """Also where the type says nothing of it: a `Page` that was made without naming what is on it."""
    if annotation is Any or isinstance(annotation, TypeVar):
        return True
    return any(True for _ in _models(annotation)) or any(_may_hold_models(inner) for inner in get_args(annotation))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
