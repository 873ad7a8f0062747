"""What one person is told, the channels it leaves by, and every try to send it."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE personal_messages (
    id uuid CONSTRAINT pk_personal_messages PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_personal_messages_community_id REFERENCES communities ON DELETE CASCADE,
    person_kind varchar(40) NOT NULL,
    person_id uuid NOT NULL,
    kind varchar(60) NOT NULL,
    key varchar(200) NOT NULL,
    title jsonb NOT NULL,
    body jsonb NOT NULL,
    link varchar NOT NULL,
    created_at timestamptz NOT NULL,
    read_at timestamptz,
    CONSTRAINT uq_personal_messages_community_id_person_id_key UNIQUE (community_id, person_id, key)
)""",
    "CREATE INDEX ix_personal_messages_person ON personal_messages (community_id, person_id, id)",
    "CREATE INDEX ix_personal_messages_unread ON personal_messages (community_id, person_id) WHERE read_at IS NULL",
    """
CREATE TABLE notice_channels (
    id uuid CONSTRAINT pk_notice_channels PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_notice_channels_community_id REFERENCES communities ON DELETE CASCADE,
    kind varchar(40) NOT NULL,
    name varchar NOT NULL,
    url varchar NOT NULL,
    sealed_secret varchar NOT NULL,
    use varchar(40) NOT NULL,
    audience varchar(40) NOT NULL,
    enabled boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
)""",
    "CREATE INDEX ix_notice_channels_community_id ON notice_channels (community_id)",
    """
CREATE TABLE message_deliveries (
    id uuid CONSTRAINT pk_message_deliveries PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_message_deliveries_community_id REFERENCES communities ON DELETE CASCADE,
    message_id uuid NOT NULL CONSTRAINT fk_message_deliveries_message_id
        REFERENCES personal_messages ON DELETE CASCADE,
    channel_id uuid NOT NULL CONSTRAINT fk_message_deliveries_channel_id REFERENCES notice_channels ON DELETE CASCADE,
    kind varchar(40) NOT NULL,
    status varchar(40) NOT NULL,
    loud boolean NOT NULL,
    address varchar NOT NULL,
    attempts integer NOT NULL,
    last_error varchar NOT NULL,
    due_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    ended_at timestamptz,
    CONSTRAINT uq_message_deliveries_message_id_channel_id UNIQUE (message_id, channel_id)
)""",
    "CREATE INDEX ix_message_deliveries_community_id_id ON message_deliveries (community_id, id)",
    "CREATE INDEX ix_message_deliveries_channel_id ON message_deliveries (channel_id)",
    "CREATE INDEX ix_message_deliveries_due ON message_deliveries (loud, due_at) WHERE status = 'waiting'",
    """
CREATE TABLE delivery_attempts (
    id uuid CONSTRAINT pk_delivery_attempts PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_delivery_attempts_community_id REFERENCES communities ON DELETE CASCADE,
    delivery_id uuid NOT NULL CONSTRAINT fk_delivery_attempts_delivery_id
        REFERENCES message_deliveries ON DELETE CASCADE,
    number integer NOT NULL,
    succeeded boolean NOT NULL,
    detail varchar NOT NULL,
    facts jsonb NOT NULL,
    started_at timestamptz NOT NULL,
    seconds double precision NOT NULL,
    CONSTRAINT uq_delivery_attempts_delivery_id_number UNIQUE (delivery_id, number)
)""",
    "CREATE INDEX ix_delivery_attempts_community_id ON delivery_attempts (community_id)",
)
NAMES = ("personal_messages", "notice_channels", "message_deliveries", "delivery_attempts")

# The sweeper serves all communities: it learns which deliveries are due, and nothing that is in them. Emergencies have
# a share of their own, so that none stands behind the thousands that a mail server in trouble leaves.
DUE = """
CREATE FUNCTION due_deliveries(due_before timestamptz, rows_max integer)
    RETURNS TABLE (delivery_id uuid, community_id uuid, loud boolean)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ (SELECT d.id, d.community_id, d.loud FROM message_deliveries d
           WHERE d.status = 'waiting' AND d.loud AND d.due_at <= due_before ORDER BY d.due_at LIMIT rows_max)
          UNION ALL
          (SELECT d.id, d.community_id, d.loud FROM message_deliveries d
           WHERE d.status = 'waiting' AND NOT d.loud AND d.due_at <= due_before ORDER BY d.due_at LIMIT rows_max) $$"""


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table in NAMES:
        for statement in fence_sql(table):
            op.execute(statement)
    op.execute(DUE)
    op.execute("REVOKE ALL ON FUNCTION due_deliveries FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION due_deliveries TO linli_app")


def downgrade() -> None:
    op.execute("DROP FUNCTION due_deliveries")
    drop_tables([*reversed(NAMES)])
