"""Rooms have a state and an area, households a name; vehicles."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

STATEMENTS = (
    "ALTER TABLE spaces ADD COLUMN state varchar(40), ADD COLUMN area_m2 double precision",
    "ALTER TABLE households ADD COLUMN name varchar NOT NULL DEFAULT ''",
    """
CREATE TABLE vehicles (
    id uuid CONSTRAINT pk_vehicles PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_vehicles_community_id REFERENCES communities ON DELETE CASCADE,
    plate varchar NOT NULL,
    plate_kind varchar(40) NOT NULL,
    room_id uuid CONSTRAINT fk_vehicles_room_id REFERENCES spaces ON DELETE SET NULL,
    resident_id uuid CONSTRAINT fk_vehicles_resident_id REFERENCES residents ON DELETE SET NULL,
    model varchar NOT NULL,
    colour varchar NOT NULL,
    note varchar NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_vehicles_community_id_plate UNIQUE (community_id, plate)
)""",
    "CREATE INDEX ix_vehicles_community_id_id ON vehicles (community_id, id)",
    "CREATE INDEX ix_vehicles_room_id ON vehicles (room_id)",
    "CREATE INDEX ix_vehicles_resident_id ON vehicles (resident_id)",
)


def upgrade() -> None:
    for statement in (*STATEMENTS, *fence_sql("vehicles")):
        op.execute(statement)


def downgrade() -> None:
    drop_tables(["vehicles"], altered=["households", "spaces"])
    op.execute("ALTER TABLE households DROP COLUMN name")
    op.execute("ALTER TABLE spaces DROP COLUMN state, DROP COLUMN area_m2")
