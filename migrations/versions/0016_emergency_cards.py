"""Emergency cards that a community words for itself.

Old code: the table is new, so no code of before has rights to it in use.
"""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

CARDS = """
CREATE TABLE emergency_cards (
    id uuid CONSTRAINT pk_emergency_cards PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_emergency_cards_community_id REFERENCES communities ON DELETE CASCADE,
    kind varchar NOT NULL,
    version integer NOT NULL,
    text_zh varchar NOT NULL,
    text_en varchar NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_emergency_cards_community_id_kind_version UNIQUE (community_id, kind, version)
)"""


def upgrade() -> None:
    op.execute(CARDS)
    for statement in fence_sql("emergency_cards"):
        op.execute(statement)
    # What residents were once told in need stays on record.
    op.execute("REVOKE UPDATE, DELETE ON emergency_cards FROM linli_app")


def downgrade() -> None:
    drop_tables(["emergency_cards"])
