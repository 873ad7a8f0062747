"""Deadlines and their sweep, whom an order is given to, and the ringing about emergencies."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

ORDERS = (
    "ALTER TABLE work_orders ADD COLUMN respond_overdue_at timestamptz, ADD COLUMN check_at timestamptz,"
    " ADD COLUMN assign_at timestamptz",
    "CREATE INDEX ix_work_orders_check_at ON work_orders (check_at) WHERE check_at IS NOT NULL",
    "CREATE INDEX ix_work_orders_assign_at ON work_orders (assign_at) WHERE assign_at IS NOT NULL",
    "CREATE INDEX ix_work_orders_emergencies ON work_orders (created_at)"
    " WHERE urgency = 'emergency' AND closed_at IS NULL",
)

TABLES = (
    """
CREATE TABLE sla_rules (
    id uuid CONSTRAINT pk_sla_rules PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_sla_rules_community_id REFERENCES communities ON DELETE CASCADE,
    class varchar(40) NOT NULL,
    category_id uuid CONSTRAINT fk_sla_rules_category_id REFERENCES work_order_categories ON DELETE CASCADE,
    respond_minutes integer NOT NULL,
    resolve_minutes integer NOT NULL,
    warn_minutes integer,
    escalate_minutes integer,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_sla_rules_community_id_class_category_id UNIQUE NULLS NOT DISTINCT
        (community_id, class, category_id)
)""",
    "CREATE INDEX ix_sla_rules_category_id ON sla_rules (category_id)",
    """
CREATE TABLE staff_areas (
    id uuid CONSTRAINT pk_staff_areas PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_staff_areas_community_id REFERENCES communities ON DELETE CASCADE,
    staff_id uuid NOT NULL CONSTRAINT fk_staff_areas_staff_id REFERENCES staff ON DELETE CASCADE,
    space_id uuid NOT NULL CONSTRAINT fk_staff_areas_space_id REFERENCES spaces ON DELETE CASCADE,
    CONSTRAINT uq_staff_areas_community_id_staff_id_space_id UNIQUE (community_id, staff_id, space_id)
)""",
    "CREATE INDEX ix_staff_areas_staff_id ON staff_areas (staff_id)",
    "CREATE INDEX ix_staff_areas_space_id ON staff_areas (space_id)",
    """
CREATE TABLE staff_turns (
    community_id uuid NOT NULL CONSTRAINT fk_staff_turns_community_id REFERENCES communities ON DELETE CASCADE,
    staff_id uuid NOT NULL CONSTRAINT fk_staff_turns_staff_id REFERENCES staff ON DELETE CASCADE,
    last_assigned_at timestamptz NOT NULL,
    CONSTRAINT pk_staff_turns PRIMARY KEY (community_id, staff_id)
)""",
    "CREATE INDEX ix_staff_turns_staff_id ON staff_turns (staff_id)",
    """
CREATE TABLE rings (
    work_order_id uuid CONSTRAINT pk_rings PRIMARY KEY
        CONSTRAINT fk_rings_work_order_id REFERENCES work_orders ON DELETE CASCADE,
    community_id uuid NOT NULL CONSTRAINT fk_rings_community_id REFERENCES communities ON DELETE CASCADE,
    state varchar(40) NOT NULL,
    step integer NOT NULL,
    next_at timestamptz,
    answer varchar(40),
    answered_by uuid,
    answered_at timestamptz,
    created_at timestamptz NOT NULL
)""",
    "CREATE INDEX ix_rings_community_id ON rings (community_id)",
    "CREATE INDEX ix_rings_next_at ON rings (next_at) WHERE next_at IS NOT NULL",
    """
CREATE TABLE ring_calls (
    id uuid CONSTRAINT pk_ring_calls PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_ring_calls_community_id REFERENCES communities ON DELETE CASCADE,
    work_order_id uuid NOT NULL CONSTRAINT fk_ring_calls_work_order_id REFERENCES work_orders ON DELETE CASCADE,
    step integer NOT NULL,
    level varchar NOT NULL,
    staff_id uuid NOT NULL,
    rung_at timestamptz NOT NULL,
    CONSTRAINT uq_ring_calls_work_order_id_step_staff_id UNIQUE (work_order_id, step, staff_id)
)""",
    "CREATE INDEX ix_ring_calls_community_id ON ring_calls (community_id)",
)
NAMES = ("sla_rules", "staff_areas", "staff_turns", "rings", "ring_calls")

# The sweeps serve all communities: they learn which orders are to be looked at, and nothing that is in them.
FUNCTIONS = {
    "due_order_checks": """
CREATE FUNCTION due_order_checks(due_before timestamptz, rows_max integer)
    RETURNS TABLE (work_order_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT o.id, o.community_id FROM work_orders o
          WHERE o.check_at <= due_before ORDER BY o.check_at LIMIT rows_max $$""",
    "due_assignments": """
CREATE FUNCTION due_assignments(due_before timestamptz, rows_max integer)
    RETURNS TABLE (work_order_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT o.id, o.community_id FROM work_orders o
          WHERE o.assign_at <= due_before ORDER BY o.assign_at LIMIT rows_max $$""",
    # Also emergencies about which nobody was rung: the job was lost, or its process died before it was sent.
    "due_rings": """
CREATE FUNCTION due_rings(due_before timestamptz, rows_max integer)
    RETURNS TABLE (work_order_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ (SELECT o.id, o.community_id FROM work_orders o
           WHERE o.urgency = 'emergency' AND o.closed_at IS NULL AND o.created_at <= due_before
             AND o.status IN ('submitted', 'returned', 'dispatched', 'transferred')
             AND NOT EXISTS (SELECT FROM rings r WHERE r.work_order_id = o.id)
           ORDER BY o.created_at LIMIT rows_max)
          UNION ALL
          (SELECT r.work_order_id, r.community_id FROM rings r
           WHERE r.next_at <= due_before ORDER BY r.next_at LIMIT rows_max) $$""",
}


def upgrade() -> None:
    for statement in (*ORDERS, *TABLES):
        op.execute(statement)
    for table in NAMES:
        for statement in fence_sql(table):
            op.execute(statement)
    for name, function in FUNCTIONS.items():
        op.execute(function)
        op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO linli_app")


def downgrade() -> None:
    for name in FUNCTIONS:
        op.execute(f"DROP FUNCTION {name}")
    drop_tables([*reversed(NAMES)], altered=["work_orders"])
    op.execute("ALTER TABLE work_orders DROP COLUMN respond_overdue_at, DROP COLUMN check_at, DROP COLUMN assign_at")
