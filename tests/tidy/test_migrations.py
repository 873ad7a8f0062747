"""Migrations run while the code of before still works. What takes something away from it waits one version."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

VERSIONS = Path(__file__).parents[2] / "migrations" / "versions"
ONLINE_FROM = "0004"
"""Those before made the first tables: nobody worked on them yet."""
RECIPE = "Old code:"
"""A docstring or comment that begins so tells how the code of before lives with what is taken away."""
TAKES_AWAY = (
    (r"\bDROP (TABLE|COLUMN|FUNCTION|SCHEMA|VIEW|TYPE)\b", "first a version whose code does without it, then this"),
    (r"\bRENAME\b", "add the new name, write both, read the new, then drop the old"),
    (r"\bALTER COLUMN \w+ (SET DATA )?TYPE\b", "add a column beside it, fill it, then change over"),
    (r"\bSET NOT NULL\b", "ADD CONSTRAINT … CHECK … NOT VALID first, VALIDATE in a migration of its own"),
    (r"\bADD COLUMN (?:(?!,).)*NOT NULL(?!.*DEFAULT)", "old code writes rows without it: give it a default"),
    (r"\bADD (CONSTRAINT \w+ )?(FOREIGN KEY|CHECK|UNIQUE)(?!.*NOT VALID)", "add it NOT VALID, validate it afterwards"),
    (r"\bREVOKE\b(?!.*\bFROM PUBLIC\b)", "old code still has that right in use"),
)


class Recorder:
    """Stands for alembic's `op` and keeps what would be executed."""

    def __init__(self) -> None:
        self.sql: list[str] = []

    def execute(self, statement: Any) -> None:
        self.sql.append(str(statement))


def names() -> list[str]:
    return sorted(path.stem for path in VERSIONS.glob("[0-9]*.py") if path.stem >= ONLINE_FROM)


@pytest.mark.parametrize("name", names())
def test_a_migration_only_adds_or_says_how_old_code_lives_with_it(name, monkeypatch):
    module = importlib.import_module(f"migrations.versions.{name}")
    recorder = Recorder()
    monkeypatch.setattr(module, "op", recorder)
    module.upgrade()
    assert recorder.sql, "a migration that does nothing, or not by op.execute"
    told = RECIPE in (VERSIONS / f"{name}.py").read_text()
    for statement in recorder.sql:
        # The body of a function is not run here.
        bare = re.sub(r"\$\$.*?\$\$", "", statement, flags=re.DOTALL)
        for pattern, instead in TAKES_AWAY:
            assert told or not re.search(pattern, bare, re.DOTALL | re.IGNORECASE), f"{bare.strip()[:120]}: {instead}"


@pytest.mark.parametrize("bad", ["ALTER TABLE turns DROP COLUMN answer", "ALTER TABLE turns ADD COLUMN kind text NOT NULL",
    "ALTER TABLE turns RENAME COLUMN answer TO text", "ALTER TABLE turns ALTER COLUMN number TYPE bigint"])  # fmt: skip
def test_the_rule_finds_what_it_should(bad):
    assert any(re.search(pattern, bad, re.DOTALL | re.IGNORECASE) for pattern, _ in TAKES_AWAY)
