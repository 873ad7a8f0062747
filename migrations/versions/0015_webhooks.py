"""Webhooks: receivers, what they are told, and the outbox and log of telling them."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE webhooks (
    id uuid CONSTRAINT pk_webhooks PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_webhooks_community_id REFERENCES communities ON DELETE CASCADE,
    name varchar NOT NULL,
    url varchar NOT NULL,
    events varchar[] NOT NULL,
    sealed_secret varchar NOT NULL,
    sealed_old_secret varchar,
    old_secret_until timestamptz,
    enabled boolean NOT NULL,
    switched_off varchar(40),
    failing_since timestamptz,
    failures integer NOT NULL,
    rest_until timestamptz,
    version integer NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
)""",
    "CREATE INDEX ix_webhooks_community_id ON webhooks (community_id)",
    """
CREATE TABLE webhook_events (
    id uuid CONSTRAINT pk_webhook_events PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_webhook_events_community_id REFERENCES communities ON DELETE CASCADE,
    kind varchar NOT NULL,
    data jsonb NOT NULL,
    created_at timestamptz NOT NULL
)""",
    "CREATE INDEX ix_webhook_events_community_id ON webhook_events (community_id)",
    "CREATE INDEX ix_webhook_events_created_at ON webhook_events (created_at)",
    """
CREATE TABLE webhook_deliveries (
    id uuid CONSTRAINT pk_webhook_deliveries PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_webhook_deliveries_community_id REFERENCES communities ON DELETE CASCADE,
    webhook_id uuid NOT NULL CONSTRAINT fk_webhook_deliveries_webhook_id REFERENCES webhooks ON DELETE CASCADE,
    event_id uuid NOT NULL CONSTRAINT fk_webhook_deliveries_event_id REFERENCES webhook_events ON DELETE CASCADE,
    kind varchar NOT NULL,
    status varchar(40) NOT NULL,
    attempts integer NOT NULL,
    next_at timestamptz NOT NULL,
    claim_token bigint NOT NULL,
    tries jsonb NOT NULL,
    answer varchar NOT NULL,
    replay_of uuid,
    created_at timestamptz NOT NULL,
    ended_at timestamptz
)""",
    "CREATE INDEX ix_webhook_deliveries_community_id ON webhook_deliveries (community_id)",
    "CREATE INDEX ix_webhook_deliveries_webhook_id_id ON webhook_deliveries (webhook_id, id)",
    "CREATE INDEX ix_webhook_deliveries_event_id ON webhook_deliveries (event_id)",
    "CREATE INDEX ix_webhook_deliveries_waiting ON webhook_deliveries (webhook_id, next_at) WHERE status = 'waiting'",
)
FENCED = ("webhooks", "webhook_events", "webhook_deliveries")

# The sweeper serves all communities: it learns which webhooks have something due, and nothing of what it is. The purge
# takes what ended long ago, then events that no delivery is left of; it tells how many rows went.
FUNCTIONS = (
    """
CREATE FUNCTION waiting_webhooks(due_at timestamptz, rows_max integer)
    RETURNS TABLE (webhook_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT w.id, w.community_id FROM webhooks w
          WHERE w.enabled AND (w.rest_until IS NULL OR w.rest_until <= due_at)
            AND EXISTS (SELECT FROM webhook_deliveries d
                        WHERE d.webhook_id = w.id AND d.status = 'waiting' AND d.next_at <= due_at)
          LIMIT rows_max $$""",
    """
CREATE FUNCTION forget_webhook_log(ended_before timestamptz, rows_max integer) RETURNS integer
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ WITH done AS (
              SELECT e.id FROM webhook_events e
              WHERE e.created_at < ended_before AND NOT EXISTS (
                  SELECT FROM webhook_deliveries d WHERE d.event_id = e.id
                      AND (d.status = 'waiting' OR d.ended_at IS NULL OR d.ended_at >= ended_before))
              ORDER BY e.created_at LIMIT rows_max),
          gone AS (DELETE FROM webhook_events WHERE id IN (SELECT id FROM done) RETURNING id)
          SELECT count(*)::integer FROM gone $$""",
)
SIGNATURES = ("waiting_webhooks(timestamptz, integer)", "forget_webhook_log(timestamptz, integer)")


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table in FENCED:
        for statement in fence_sql(table):
            op.execute(statement)
    for function in FUNCTIONS:
        op.execute(function)
    for signature in SIGNATURES:
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO linli_app")


def downgrade() -> None:
    for signature in SIGNATURES:
        op.execute(f"DROP FUNCTION {signature}")
    drop_tables([*reversed(FENCED)])
