"""The audit log: rows are added and read by the app, and go by the owner's purge alone."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TABLE = (
    """
CREATE TABLE audit_events (
    id uuid CONSTRAINT pk_audit_events PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_audit_events_community_id REFERENCES communities ON DELETE CASCADE,
    kind varchar(40) NOT NULL,
    action varchar NOT NULL,
    object_kind varchar NOT NULL,
    object_id uuid,
    caller_kind varchar(40) NOT NULL,
    caller_id uuid NOT NULL,
    caller_name varchar NOT NULL,
    caller_roles varchar[] NOT NULL,
    request_id varchar NOT NULL,
    network varchar NOT NULL,
    fields varchar[] NOT NULL,
    facts jsonb NOT NULL,
    residents uuid[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)""",
    "CREATE INDEX ix_audit_events_community_id_id ON audit_events (community_id, id)",
    "CREATE INDEX ix_audit_events_created_at ON audit_events (created_at)",
    "CREATE INDEX ix_audit_events_residents ON audit_events USING gin (residents)",
)

# Row-level security lets no index serve an operator that might tell what it saw, and `@>` is one of these: so the rows
# about a resident are found by the owner, within the community of the transaction, and read by the app.
FUNCTIONS = (
    """
CREATE FUNCTION audit_events_about(wanted uuid, before uuid, rows_max integer) RETURNS SETOF uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT a.id FROM audit_events a
          WHERE a.residents @> ARRAY[wanted] AND a.caller_id <> wanted AND (before IS NULL OR a.id < before)
            AND a.community_id = nullif(current_setting('app.community_id', true), '')::uuid
          ORDER BY a.id DESC LIMIT rows_max $$""",
    """
CREATE FUNCTION forget_audit_events(before timestamptz, rows_max integer) RETURNS integer
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ WITH gone AS (
              DELETE FROM audit_events WHERE id IN (
                  SELECT a.id FROM audit_events a WHERE a.created_at < before ORDER BY a.created_at LIMIT rows_max)
              RETURNING id)
          SELECT count(*)::integer FROM gone $$""",
)
SIGNATURES = ("audit_events_about(uuid, uuid, integer)", "forget_audit_events(timestamptz, integer)")


def upgrade() -> None:
    for statement in TABLE:
        op.execute(statement)
    for statement in fence_sql("audit_events"):
        if not statement.startswith("GRANT"):
            op.execute(statement)
    op.execute("GRANT SELECT, INSERT ON audit_events TO linli_app")
    for function in FUNCTIONS:
        op.execute(function)
    for signature in SIGNATURES:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO linli_app")


def downgrade() -> None:
    for signature in SIGNATURES:
        op.execute(f"DROP FUNCTION {signature}")
    drop_tables(["audit_events"])
