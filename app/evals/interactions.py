"""Interactions from files: `user,item,rating,timestamp`, or a user and their items a line, as published splits come."""

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import numpy as np

from app.evals.lines import BadLine, NothingToAsk
from models.training.interactions import Events

DELIMITERS = ("::", "\t", ",", ";")
COLUMNS = ("user", "item", "rating", "timestamp")
NAMES = {
    "user": ("user", "user_id", "userid", "uid"), "item": ("item", "item_id", "itemid", "movieid", "iid"),
    "rating": ("rating", "weight", "score"), "timestamp": ("timestamp", "time", "at", "date"),
}  # fmt: skip
"""What a header may call the columns."""
FIELD_CHARS_MAX = 200


@dataclass
class _Table:
    """Ids as codes of the order they came in: ten million lines are 200 MB so, and ten times that as texts."""

    users: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    user_codes: "array[int]" = field(default_factory=lambda: array("l"))
    item_codes: "array[int]" = field(default_factory=lambda: array("l"))
    ratings: "array[float]" = field(default_factory=lambda: array("f"))
    times: "array[float]" = field(default_factory=lambda: array("d"))

    def add(self, user: str, item: str, rating: float, time: float | None) -> None:
        for name in (user, item):
            if not name or len(name) > FIELD_CHARS_MAX:
                raise ValueError("an id is empty or very long")
        self.user_codes.append(self.users.setdefault(user, len(self.users)))
        self.item_codes.append(self.items.setdefault(item, len(self.items)))
        self.ratings.append(rating)
        if time is not None:
            self.times.append(time)


def read(path: Path, *, rating_min: float | None = None, limit: int = 0, seed: int | None = None) -> Events:
    """The events of a file; all weigh 1. Lines rated below `rating_min` are left out. Raises: BadLine, NothingToAsk.

    With `limit` the first lines, or with a seed as well so many drawn from all.
    """
    table = _Table()
    lines = _lines(path)
    number, first = next(lines, (0, ""))
    if not number:
        raise NothingToAsk(path)
    delimiter = next((one for one in DELIMITERS if one in first), None)
    fields = [one.strip().lower() for one in first.split(delimiter)]
    header = fields[0] in NAMES["user"]
    places = _places(fields, path) if header else list(range(len(fields)))
    for at, line in lines if header else _again(number, first, lines):
        if limit and seed is None and len(table.user_codes) >= limit:
            break
        try:
            _add(table, line, delimiter, places, rating_min)
        except ValueError as error:
            raise BadLine(path, at, str(error)) from None
    if not len(table.user_codes):
        raise NothingToAsk(path)
    return _events(table, limit=limit, seed=seed)


def _again(number: int, first: str, lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    yield number, first
    yield from lines


def _places(fields: Sequence[str], path: Path) -> list[int]:
    """Where user, item, rating and timestamp stand by the header; those at the end may be missing."""
    found = [next((at for at, name in enumerate(fields) if name in NAMES[column]), -1) for column in COLUMNS]
    if found[1] < 0:
        raise BadLine(path, 1, "the header names no item")
    return found


def _add(table: _Table, line: str, delimiter: str | None, places: Sequence[int], rating_min: float | None) -> None:
    fields = [one.strip().strip('"') for one in line.split(delimiter)]
    if delimiter is None:
        for item in fields[1:]:
            table.add(fields[0], item, 1.0, None)
        return
    values = [fields[at] if 0 <= at < len(fields) else "" for at in (*places, -1, -1)[:4]]
    if len(fields) < 2:
        raise ValueError("has no item")
    rating = _number(values[2], "rating") if values[2] else 1.0
    if len(places) > 3 and places[3] >= 0 and not values[3]:
        raise ValueError("has no timestamp, and others have")
    if rating_min is None or rating >= rating_min:
        table.add(values[0], values[1], rating, _time(values[3]) if values[3] else None)


def _number(text: str, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"{what} {text[:40]!r} is not a number") from None
    if not np.isfinite(value):
        raise ValueError(f"{what} {text[:40]!r} is not a number")
    return value


def _time(text: str) -> float:
    try:
        return _number(text, "timestamp")
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(f"timestamp {text[:40]!r} is neither a number nor a date") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _events(table: _Table, *, limit: int, seed: int | None) -> Events:
    users = np.array(list(table.users))[np.frombuffer(table.user_codes, dtype=np.int64)]
    items = np.array(list(table.items))[np.frombuffer(table.item_codes, dtype=np.int64)]
    times = np.array(table.times) if len(table.times) == len(users) else None
    events = Events(users, items, None, times)
    if limit and seed is not None and limit < len(events):
        places = Random(seed).sample(range(len(events)), limit)  # noqa: S311 (a choice of lines, not a secret)
        return events.only(np.sort(np.array(places)))
    return events


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    # Read line by line, as bytes first: a large file is never whole in memory, and a wrong encoding names its line.
    with path.open("rb") as file:
        for number, raw in enumerate(file, 1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise BadLine(path, number, "is not UTF-8") from None
            if line:
                yield number, line


def joined(parts: Sequence[Events]) -> Events:
    """All events of several files; with times only where all have them."""
    times = [one.times for one in parts if one.times is not None]
    return Events(
        np.concatenate([one.users for one in parts]),
        np.concatenate([one.items for one in parts]),
        None,
        np.concatenate(times) if len(times) == len(parts) else None,
    )


def of_practice() -> Events:
    """The made-up year of the practice community, of all its people."""
    from app.practice import interactions, offers, world

    built = world.build()
    people = interactions.people_of(built, built.communities[0].id)
    users, items, times = interactions.columns(interactions.happenings(people, offers.facts(built)))
    return Events(np.array(users), np.array(items), None, np.array(times))
