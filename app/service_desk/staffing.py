"""Who gets an order: chosen by skill, shift, load, distance, and fairness over the week, and told why. Pure.

A choice is a filter and then a sum. Filter: who has the skill and may work in that building, of those at work; when
nobody is at work, of those on call; when nobody is on call either, a person decides. Sum, the lowest gets it: open
orders, steps to the place, and orders of the last seven days beyond what the others had.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class Mode(StrEnum):
    """抢单 is offered to all who can; 派单 goes to whom it suits best; 轮训 to whose turn it is."""

    GRAB = "grab"
    DISPATCH = "dispatch"
    ROTATION = "rotation"


@dataclass(frozen=True)
class OrderFacts:
    """`place` is the path in the space tree from the top down to where the work is; empty when that is unknown."""

    skill: str
    place: tuple[UUID, ...] = ()
    urgent: bool = False
    not_for: UUID | None = None
    """Whom the order complains about."""
    rule: UUID | None = None
    """The community's own rule for such orders, from which the skill may be, and whom it names for them."""
    named: UUID | None = None


@dataclass(frozen=True)
class Candidate:
    """`areas` are paths in the space tree to which their work is limited; none means the whole community."""

    staff_id: UUID
    name: str
    skills: frozenset[str]
    on_shift: bool = False
    on_call: bool = False
    open_orders: int = 0
    week_orders: int = 0
    areas: tuple[tuple[UUID, ...], ...] = ()
    last_place: tuple[UUID, ...] = ()
    """Where the newest of their open orders is."""
    last_assigned_at: datetime | None = None


LOAD_POINTS, STEP_POINTS, WEEK_POINTS = 10, 3, 2
FAR_STEPS = 6
"""Steps for who has no work near: up from a room to the community and down into another phase."""
URGENT_LOAD_POINTS = 20
"""Who is busy cannot come at once, so load weighs more; whose turn it is does not count."""


@dataclass(frozen=True)
class Points:
    load: int
    distance: int
    fairness: int

    @property
    def total(self) -> int:
        return self.load + self.distance + self.fairness


@dataclass(frozen=True)
class Choice:
    """`staff_id` is None when nobody can be chosen, or when several are offered it. `why` goes onto the order."""

    staff_id: UUID | None
    offered_to: tuple[UUID, ...]
    why: dict[str, Any] = field(compare=False)


class Out(StrEnum):
    """Why somebody could not get it."""

    SUBJECT = "subject"
    SKILL = "skill"
    AREA = "area"
    AWAY = "away"


OUT_WORDS: Mapping[Out, tuple[str, str]] = {
    Out.SUBJECT: ("被投诉人回避", "the complaint is about them"),
    Out.SKILL: ("技能不符", "has not the skill"),
    Out.AREA: ("不负责该楼栋", "does not work in that building"),
    Out.AWAY: ("不在班", "is not at work"),
}


SKILLS_ZH: Mapping[str, str] = {
    "plumbing": "水暖", "electrical": "电工", "lift": "电梯", "locks": "门锁", "civil": "土建", "cleaning": "保洁",
    "security": "安保", "front_desk": "前台", "finance": "财务", "general": "综合",
}  # fmt: skip


def choose(order: OrderFacts, candidates: Iterable[Candidate], *, mode: Mode = Mode.DISPATCH) -> Choice:
    """Who gets the order. The order in which candidates come does not matter."""
    everybody = sorted(candidates, key=lambda one: one.staff_id.int)
    out = {one.staff_id: reason for one in everybody if (reason := out_for(order, one))}
    able = [one for one in everybody if one.staff_id not in out]
    at_work = [one for one in able if one.on_shift]
    pool = at_work or [one for one in able if one.on_call]
    out |= {one.staff_id: Out.AWAY for one in able if one not in pool}
    named = next((one for one in able if one.staff_id == order.named and (one.on_shift or one.on_call)), None)
    if named is not None:
        return Choice(named.staff_id, (), _why_named(order, named, out, mode))
    if not pool:
        return Choice(None, (), _note_rule(order, _why_nobody(order, everybody, out, mode)))
    if mode is Mode.GRAB:
        ids = tuple(one.staff_id for one in pool)
        return Choice(None, ids, _note_rule(order, _why_offered(order, pool, out, on_call=not at_work)))
    points = {one.staff_id: points_of(order, one, pool) for one in pool}
    ranked = sorted(pool, key=_turn if mode is Mode.ROTATION else _cost(points))
    why = _why_chosen(order, ranked, points, out, mode=mode, on_call=not at_work)
    return Choice(ranked[0].staff_id, (), _note_rule(order, why))


def out_for(order: OrderFacts, one: Candidate) -> Out | None:
    """Why this candidate cannot have the order whoever else there is; None when they can."""
    if one.staff_id == order.not_for:
        return Out.SUBJECT
    if one.staff_id == order.named:
        return None
    if order.skill not in one.skills:
        return Out.SKILL
    if one.areas and order.place and not any(_within(area, order.place) for area in one.areas):
        return Out.AREA
    return None


def points_of(order: OrderFacts, one: Candidate, pool: Sequence[Candidate]) -> Points:
    """What speaks against this candidate, among those who could come."""
    fewest = min(other.week_orders for other in pool)
    return Points(
        load=one.open_orders * (URGENT_LOAD_POINTS if order.urgent else LOAD_POINTS),
        distance=distance(order.place, one) * STEP_POINTS,
        fairness=0 if order.urgent else (one.week_orders - fewest) * WEEK_POINTS,
    )


def distance(place: tuple[UUID, ...], one: Candidate) -> int:
    """Steps in the space tree from where they are, or where they belong, to the place; 0 when that is unknown."""
    if not place:
        return 0
    known = [path for path in (one.last_place, *one.areas) if path]
    return min((_steps(path, place) for path in known), default=FAR_STEPS)


def _steps(path: tuple[UUID, ...], place: tuple[UUID, ...]) -> int:
    if _within(path, place):
        return 0
    common = 0
    for a, b in zip(path, place, strict=False):
        if a != b:
            break
        common += 1
    return min(FAR_STEPS, len(path) + len(place) - 2 * common)


def _within(area: tuple[UUID, ...], place: tuple[UUID, ...]) -> bool:
    return place[: len(area)] == area


def _turn(one: Candidate) -> tuple[Any, ...]:
    """Whose turn it is: who waited longest since the last one, those who never had one first."""
    last = one.last_assigned_at
    return (last is not None, last.timestamp() if last else 0.0, one.week_orders, one.open_orders, one.staff_id.int)


def _cost(points: Mapping[UUID, Points]) -> Callable[[Candidate], tuple[Any, ...]]:
    def cost(one: Candidate) -> tuple[Any, ...]:
        return (points[one.staff_id].total, one.week_orders, one.open_orders, *_turn(one))

    return cost


# Why, in words


def _why_chosen(
    order: OrderFacts, ranked: Sequence[Candidate], points: Mapping[UUID, Points], out: Mapping[UUID, Out], *,
    mode: Mode, on_call: bool,
) -> dict[str, Any]:  # fmt: skip
    first = ranked[0]
    steps, fewest = distance(order.place, first), min(one.week_orders for one in ranked)
    more = first.week_orders - fewest
    factors = [
        ("skill", order.skill, f"具备技能：{_zh(order)}", f"has the skill {order.skill}"),
        ("shift", "on_call" if on_call else "on_shift", "当前无人在班，由值班人员处理" if on_call else "当前在班",
         "is on call, as nobody is at work" if on_call else "is at work now"),
        ("load", first.open_orders, f"手上有 {first.open_orders} 单", f"has {first.open_orders} open"),
        ("distance", steps, _near_zh(order, first, steps), _near_en(order, first, steps)),
        ("fairness", first.week_orders, f"近 7 天 {first.week_orders} 单，比最少者多 {more} 单",
         f"had {first.week_orders} in 7 days, {more} more than who had fewest"),
    ]  # fmt: skip
    if mode is Mode.ROTATION:
        factors.append(("turn", len(ranked), "轮到此人接单", f"it is their turn among {len(ranked)}"))
    return {
        "mode": mode.value,
        "staff_id": str(first.staff_id),
        "factors": [{"factor": name, "value": value, "zh": zh, "en": en} for name, value, zh, en in factors],
        "zh": f"派给{first.name}：" + "；".join(zh for _, _, zh, _ in factors) + "。",
        "en": f"Given to {first.name}: " + "; ".join(en for _, _, _, en in factors) + ".",
        "considered": [
            {"staff_id": str(one.staff_id), "points": points[one.staff_id].total, "load": points[one.staff_id].load,
             "distance": points[one.staff_id].distance, "fairness": points[one.staff_id].fairness}
            for one in ranked
        ],
        "out": _outs(out),
    }  # fmt: skip


def _why_named(order: OrderFacts, one: Candidate, out: Mapping[UUID, Out], mode: Mode) -> dict[str, Any]:
    return {
        "mode": mode.value,
        "staff_id": str(one.staff_id),
        "factors": [_rule(order, "本小区规则指定由此人处理", "the community's rule names them")],
        "zh": f"派给{one.name}：本小区规则指定由此人处理。",
        "en": f"Given to {one.name}: the community's rule names them.",
        "considered": [],
        "out": [known for known in _outs(out) if known["staff_id"] != str(one.staff_id)],
    }


def _rule(order: OrderFacts, zh: str, en: str) -> dict[str, Any]:
    return {"factor": "rule", "value": str(order.rule), "zh": zh, "en": en}


def _note_rule(order: OrderFacts, why: dict[str, Any]) -> dict[str, Any]:
    """The reasons, with the rule that had a part in them; whom it names could not be had."""
    if order.rule is None:
        return why
    zh, en = "按本小区派单规则", "by a rule of the community"
    if order.named is not None:
        zh, en = f"{zh}（指定的人现在不能处理）", f"{en} (whom it names cannot do it now)"
    return {
        **why,
        "factors": [*why["factors"], _rule(order, zh, en)],
        "zh": f"{why['zh'].removesuffix('。')}；{zh}。",
        "en": f"{why['en'].removesuffix('.')}; {en}.",
    }


def _near_zh(order: OrderFacts, one: Candidate, steps: int) -> str:
    if not order.place:
        return "地点未知，不计距离"
    return "就在负责的区域" if steps == 0 else f"距离 {steps} 级"


def _near_en(order: OrderFacts, one: Candidate, steps: int) -> str:
    if not order.place:
        return "the place is unknown, so nobody is nearer"
    return "works right there" if steps == 0 else f"is {steps} steps away"


def _why_offered(
    order: OrderFacts, pool: Sequence[Candidate], out: Mapping[UUID, Out], *, on_call: bool
) -> dict[str, Any]:
    return {
        "mode": Mode.GRAB.value,
        "staff_id": None,
        "offered_to": [str(one.staff_id) for one in pool],
        "zh": f"已通知 {len(pool)} 位具备“{_zh(order)}”技能的{'值班' if on_call else '在班'}员工抢单。",
        "en": f"Offered to {len(pool)} {'on call' if on_call else 'at work'} with the skill {order.skill}.",
        "factors": [],
        "considered": [],
        "out": _outs(out),
    }


def _why_nobody(
    order: OrderFacts, everybody: Sequence[Candidate], out: Mapping[UUID, Out], mode: Mode
) -> dict[str, Any]:
    able = [one for one in everybody if out.get(one.staff_id) is Out.AWAY]
    zh = f"具备“{_zh(order)}”技能的员工都不在班，也无人值班，等待人工派单。"
    en = f"Nobody with the skill {order.skill} is at work or on call, so a person has to decide."
    if not able:
        zh = f"没有员工可以处理“{_zh(order)}”，等待人工派单。"
        en = f"No member of staff can do {order.skill} there, so a person has to decide."
    return {
        "mode": mode.value, "staff_id": None, "zh": zh, "en": en, "factors": [], "considered": [], "out": _outs(out),
    }  # fmt: skip


def _outs(out: Mapping[UUID, Out]) -> list[dict[str, str]]:
    return [
        {"staff_id": str(staff_id), "reason": reason.value, "zh": OUT_WORDS[reason][0], "en": OUT_WORDS[reason][1]}
        for staff_id, reason in sorted(out.items(), key=lambda one: one[0].int)
    ]


def _zh(order: OrderFacts) -> str:
    """The skill in Chinese; a community's own name for one as it is."""
    return SKILLS_ZH.get(order.skill, order.skill)
