"""Incidents whose expected end passes are chased; rules say who gets which orders; files are removed for good."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

CHANGES = (
    "ALTER TABLE incidents ADD COLUMN chase_at timestamptz",
    "ALTER TABLE incidents ADD COLUMN chased_count integer NOT NULL DEFAULT 0",
    "CREATE INDEX ix_incidents_chase ON incidents (chase_at) WHERE chase_at IS NOT NULL",
    # Those that last already are chased from now on, too.
    "UPDATE incidents SET chase_at = expected_end_at WHERE status IN ('suspected', 'open')",
    """
CREATE TABLE assignment_rules (
    id uuid CONSTRAINT pk_assignment_rules PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_assignment_rules_community_id REFERENCES communities ON DELETE CASCADE,
    category_id uuid CONSTRAINT fk_assignment_rules_category_id REFERENCES work_order_categories ON DELETE CASCADE,
    building_id uuid CONSTRAINT fk_assignment_rules_building_id REFERENCES spaces ON DELETE CASCADE,
    skill varchar,
    staff_id uuid CONSTRAINT fk_assignment_rules_staff_id REFERENCES staff ON DELETE CASCADE,
    mode varchar(40),
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_assignment_rules_community_id_category_id_building_id
        UNIQUE NULLS NOT DISTINCT (community_id, category_id, building_id)
)""",
    "ALTER TABLE work_order_files ADD COLUMN removed_at timestamptz",
    "CREATE INDEX ix_work_order_files_removed_at ON work_order_files (removed_at) WHERE removed_at IS NOT NULL",
    "CREATE INDEX ix_assignment_rules_category_id ON assignment_rules (category_id)",
    "CREATE INDEX ix_assignment_rules_building_id ON assignment_rules (building_id)",
    "CREATE INDEX ix_assignment_rules_staff_id ON assignment_rules (staff_id)",
)

# Sweepers serve all communities: they learn what waits, and nothing that is in it.
FUNCTIONS = {
    "late_incidents(timestamptz, integer)": """
CREATE FUNCTION late_incidents(at timestamptz, rows_max integer)
    RETURNS TABLE (incident_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT i.id, i.community_id FROM incidents i
          WHERE i.chase_at <= at ORDER BY i.chase_at LIMIT rows_max $$""",
    "removed_work_order_files(timestamptz, integer)": """
CREATE FUNCTION removed_work_order_files(removed_before timestamptz, rows_max integer)
    RETURNS TABLE (file_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT f.id, f.community_id FROM work_order_files f
          WHERE f.removed_at < removed_before ORDER BY f.removed_at LIMIT rows_max $$""",
}


def upgrade() -> None:
    for statement in CHANGES:
        op.execute(statement)
    for statement in fence_sql("assignment_rules"):
        op.execute(statement)
    for signature, statement in FUNCTIONS.items():
        op.execute(statement)
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO linli_app")


def downgrade() -> None:
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    drop_tables(["assignment_rules"], altered=["work_order_files", "incidents"])
    op.execute("ALTER TABLE work_order_files DROP COLUMN removed_at")
    op.execute("ALTER TABLE incidents DROP COLUMN chased_count, DROP COLUMN chase_at")
