"""Staff have a title, a phone and skills; their shifts; the on-call rota."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

STAFF = """
ALTER TABLE staff ADD COLUMN title varchar NOT NULL DEFAULT '', ADD COLUMN phone varchar NOT NULL DEFAULT '',
    ADD COLUMN skills varchar[] NOT NULL DEFAULT '{}'"""
RECURRING = """
    weekdays smallint[],
    from_date date,
    to_date date,
    from_time time NOT NULL,
    to_time time NOT NULL,
"""
TABLES = (
    f"""
CREATE TABLE staff_shifts (
    id uuid CONSTRAINT pk_staff_shifts PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_staff_shifts_community_id REFERENCES communities ON DELETE CASCADE,
    staff_id uuid NOT NULL CONSTRAINT fk_staff_shifts_staff_id REFERENCES staff ON DELETE CASCADE,{RECURRING}
    off boolean NOT NULL,
    note varchar NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)""",
    "CREATE INDEX ix_staff_shifts_community_id_id ON staff_shifts (community_id, id)",
    "CREATE INDEX ix_staff_shifts_staff_id ON staff_shifts (staff_id)",
    f"""
CREATE TABLE rota_entries (
    id uuid CONSTRAINT pk_rota_entries PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_rota_entries_community_id REFERENCES communities ON DELETE CASCADE,
    staff_id uuid NOT NULL CONSTRAINT fk_rota_entries_staff_id REFERENCES staff ON DELETE CASCADE,{RECURRING}
    level integer NOT NULL,
    note varchar NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)""",
    "CREATE INDEX ix_rota_entries_community_id_id ON rota_entries (community_id, id)",
    "CREATE INDEX ix_rota_entries_staff_id ON rota_entries (staff_id)",
)


def upgrade() -> None:
    op.execute(STAFF)
    for statement in TABLES:
        op.execute(statement)
    for table in ("staff_shifts", "rota_entries"):
        for statement in fence_sql(table):
            op.execute(statement)


def downgrade() -> None:
    drop_tables(["rota_entries", "staff_shifts"], altered=["staff"])
    op.execute("ALTER TABLE staff DROP COLUMN title, DROP COLUMN phone, DROP COLUMN skills")
