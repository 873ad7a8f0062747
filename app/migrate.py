"""Brings the database to the newest migration; `linli migrate`, `linli up` and the tests call it."""

from pathlib import Path

from alembic import command
from alembic.config import Config

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def upgrade(owner_url: str, revision: str = "head") -> None:
    """Run what is missing, as the owner role. Blocking: call it from a thread where a loop runs."""
    command.upgrade(_config(owner_url), revision)


def downgrade(owner_url: str, revision: str) -> None:
    command.downgrade(_config(owner_url), revision)


def _config(owner_url: str) -> Config:
    config = Config(MIGRATIONS / "alembic.ini")
    config.attributes["url"] = owner_url
    return config
