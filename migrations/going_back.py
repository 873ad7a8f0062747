"""Dropping tables while the code of the version before goes on working."""

from collections.abc import Iterable, Sequence
from graphlib import TopologicalSorter

from alembic import op
from sqlalchemy import text

KEYS = text(
    "SELECT conrelid::regclass::text AS child, confrelid::regclass::text AS parent FROM pg_constraint "
    "WHERE contype = 'f' AND conrelid <> confrelid AND connamespace = 'public'::regnamespace"
)


def drop_tables(names: Sequence[str], *, altered: Iterable[str] = ()) -> None:
    """Drop tables in the order given, after locking all that this touches, and what is `altered` later on as well.

    Dropping a table also locks those it points to. Somebody who inserts a row locks its table first and then, for the
    foreign keys, those it points to. Locked in another order, the two would wait for each other, and Postgres would
    end one of them: perhaps a resident's question.
    """
    connection = op.get_bind()
    parents: dict[str, set[str]] = {}
    for child, parent in connection.execute(KEYS):
        parents.setdefault(child, set()).add(parent)
    touched = {*names, *altered} | {parent for name in names for parent in parents.get(name, ())}
    # An old table between two touched ones gives them an order too, so all tables are sorted.
    parents_first = TopologicalSorter(parents).static_order()
    for name in reversed([name for name in parents_first if name in touched]):
        op.execute(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
    for name in names:
        op.execute(f"DROP TABLE {name}")
