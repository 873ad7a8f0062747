"""The grammar by which staff say for whom a campaign is: JSON in, a checked tree out. Pure.

{"and": […]}, {"or": […]}, {"not": {…}}, a predicate {"is": "lives", "roles": ["owner"]}, or {} for everybody. What a
predicate may ask is `PREDICATES`, a table; nothing in it tells age, sex, health, belief or money. No text of a filter
ever becomes SQL: campaign_conditions.py compiles the tree, with every value a bound parameter.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from app.errors import Invalid
from app.people.tables import ResidentRole
from app.recommend.tables import FeedbackKind

DEPTH_MAX, NODES_MAX, VALUES_MAX = 5, 50, 100
CATEGORY = re.compile(r"\w[\w /&·+-]{0,59}")
WITHIN_DAYS_MAX, TIMES_MAX = 730, 100
TOLD_CHARS = 80


class FilterInvalid(Invalid):
    code = "campaign_filter_invalid"

    def __init__(self, where: str, en: str, zh: str) -> None:
        super().__init__(f"{where}: {en}", f"{where}：{zh}", where=where)


@dataclass(frozen=True, slots=True)
class Every:
    """All of `parts` hold; without parts, everybody."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Some:
    """One of `parts` holds at least."""

    parts: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Not:
    part: "Node"


@dataclass(frozen=True, slots=True)
class Is:
    """A predicate with its arguments, each of the type that `PREDICATES` names."""

    predicate: str
    args: Mapping[str, Any]


Node = Every | Some | Not | Is
Read = Callable[[str, Any], Any]
"""Turns a JSON value into one of ours. Raises FilterInvalid."""


def _boolean(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise FilterInvalid(where, "true or false.", "应为 true 或 false。")
    return value


def _whole(least: int, most: int) -> Read:
    def read(where: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise FilterInvalid(where, f"a whole number from {least} to {most}.", f"应为 {least} 到 {most} 的整数。")
        return value

    return read


def _one_of(*allowed: str) -> Read:
    def read(where: str, value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise FilterInvalid(where, f"one of {', '.join(allowed)}.", f"应为以下之一：{'、'.join(allowed)}。")
        return value

    return read


def _several(read_one: Read) -> Read:
    def read(where: str, value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or not 1 <= len(value) <= VALUES_MAX:
            raise FilterInvalid(where, f"a list of 1 to {VALUES_MAX} values.", f"应为 1 到 {VALUES_MAX} 个值的列表。")
        return tuple(dict.fromkeys(read_one(f"{where}[{number}]", one) for number, one in enumerate(value)))

    return read


def _id(where: str, value: Any) -> UUID:
    try:
        # Only the usual way to write one: UUID() also takes braces and prefixes.
        if isinstance(value, str) and len(value) == 36:
            return UUID(value)
    except ValueError:
        pass
    raise FilterInvalid(where, "an id.", "应为 id。")


def _category(where: str, value: Any) -> str:
    if not isinstance(value, str) or not CATEGORY.fullmatch(value):
        raise FilterInvalid(where, "the name of a category.", "应为类别名称。")
    return value


@dataclass(frozen=True, slots=True)
class Arg:
    read: Read
    required: bool = False


BEHAVIOUR = (FeedbackKind.CLICKED, FeedbackKind.JOINED, FeedbackKind.BOUGHT, FeedbackKind.LIKED)
"""What may be asked of what somebody did: what they chose to do, not what was merely shown to them or that they hid."""

PREDICATES: dict[str, Mapping[str, Arg]] = {
    # One residency for which all of it holds. Without `verified`, a verified one.
    "lives": {
        "space_ids": Arg(_several(_id)),
        "roles": Arg(_several(_one_of(*ResidentRole))),
        "verified": Arg(_boolean),
    },
    "language": {"languages": Arg(_several(_one_of("zh", "en")), required=True)},
    "moved_in": {"within_days": Arg(_whole(1, WITHIN_DAYS_MAX), required=True)},
    # With neither category nor item: anything at all.
    "did": {
        "what": Arg(_several(_one_of(*BEHAVIOUR)), required=True),
        "category": Arg(_category),
        "item_id": Arg(_id),
        "within_days": Arg(_whole(1, WITHIN_DAYS_MAX), required=True),
        "at_least": Arg(_whole(1, TIMES_MAX)),
    },
}
"""What may be asked, with which arguments."""

ABOUT_BEHAVIOUR = frozenset({"did"})
"""Predicates that look at what people did: whoever wants nothing personalised is left out of such an audience."""

JOINS: dict[str, type[Every | Some]] = {"and": Every, "or": Some}


def parse(value: Any) -> Node:
    """The tree of a filter. Raises FilterInvalid for whatever is not in the grammar."""
    left = [NODES_MAX]
    return Every(()) if value == {} else _node("filter", value, depth=1, left=left)


def _node(where: str, value: Any, *, depth: int, left: list[int]) -> Node:
    left[0] -= 1
    if depth > DEPTH_MAX:
        raise FilterInvalid(where, f"nested more than {DEPTH_MAX} deep.", f"嵌套超过 {DEPTH_MAX} 层。")
    if left[0] < 0:
        raise FilterInvalid(where, f"more than {NODES_MAX} parts.", f"条件超过 {NODES_MAX} 个。")
    if not isinstance(value, dict):
        raise FilterInvalid(where, "an object was expected.", "应为对象。")
    if "is" in value:
        return _predicate(where, value)
    if len(value) != 1:
        raise FilterInvalid(where, "exactly one of and, or, not, is.", "应恰有 and、or、not、is 之一。")
    [(name, inner)] = value.items()
    if name == "not":
        return Not(_node(f"{where}.not", inner, depth=depth + 1, left=left))
    if name not in JOINS:
        raise FilterInvalid(where, f"{_told(name)} is not one of and, or, not, is.", "只能使用 and、or、not、is。")
    if not isinstance(inner, list) or not inner:
        raise FilterInvalid(f"{where}.{name}", "a list of at least one part.", "应为至少一项的列表。")
    # Before anything is read of it, so that a long list costs nothing.
    if len(inner) > left[0]:
        raise FilterInvalid(where, f"more than {NODES_MAX} parts.", f"条件超过 {NODES_MAX} 个。")
    parts = (_node(f"{where}.{name}[{at}]", one, depth=depth + 1, left=left) for at, one in enumerate(inner))
    return JOINS[name](tuple(parts))


def _predicate(where: str, value: dict[str, Any]) -> Is:
    name = value["is"]
    if not isinstance(name, str) or name not in PREDICATES:
        known = ", ".join(PREDICATES)
        raise FilterInvalid(f"{where}.is", f"one of {known}.", f"应为以下之一：{known}。")
    args = PREDICATES[name]
    if unknown := [key for key in value if key != "is" and key not in args]:
        raise FilterInvalid(where, f"{name} has no {_told(unknown[0])}.", f"{name} 没有参数 {_told(unknown[0])}。")
    if missing := [key for key, arg in args.items() if arg.required and key not in value]:
        raise FilterInvalid(where, f"{name} needs {missing[0]}.", f"{name} 需要参数 {missing[0]}。")
    given = {key: arg.read(f"{where}.{key}", value[key]) for key, arg in args.items() if key in value}
    if "category" in given and "item_id" in given:
        raise FilterInvalid(where, "a category or an item, not both.", "类别与项目只能二选一。")
    return Is(name, given)


def _told(name: Any) -> str:
    """A name of a caller's as it may stand in an error."""
    return repr(str(name))[:TOLD_CHARS]


def predicates_in(node: Node) -> Iterator[Is]:
    """Every predicate of a tree."""
    match node:
        case Is():
            yield node
        case Not(part):
            yield from predicates_in(part)
        case Every(parts) | Some(parts):
            for part in parts:
                yield from predicates_in(part)


def looks_at_behaviour(node: Node) -> bool:
    return any(one.predicate in ABOUT_BEHAVIOUR for one in predicates_in(node))


def ids_in(node: Node) -> tuple[frozenset[UUID], frozenset[UUID]]:
    """The spaces and the items that a filter names."""
    found = list(predicates_in(node))
    spaces = frozenset(one for leaf in found for one in leaf.args.get("space_ids", ()))
    return spaces, frozenset(leaf.args["item_id"] for leaf in found if "item_id" in leaf.args)
