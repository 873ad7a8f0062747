"""Conversations and turns, and the sweeper's look at turns that still wait."""

from alembic import op

from app.db import fence_sql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE conversations (
    id uuid CONSTRAINT pk_conversations PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_conversations_community_id REFERENCES communities ON DELETE CASCADE,
    caller_kind varchar(40) NOT NULL,
    caller_id uuid NOT NULL,
    account_id uuid,
    title varchar NOT NULL,
    created_at timestamptz NOT NULL
)""",
    "CREATE INDEX ix_conversations_caller ON conversations (community_id, caller_id, id)",
    """
CREATE TABLE turns (
    id uuid CONSTRAINT pk_turns PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_turns_community_id REFERENCES communities ON DELETE CASCADE,
    conversation_id uuid NOT NULL CONSTRAINT fk_turns_conversation_id REFERENCES conversations ON DELETE CASCADE,
    number integer NOT NULL,
    status varchar(40) NOT NULL,
    messages jsonb NOT NULL,
    history jsonb,
    language varchar NOT NULL,
    claim_token bigint NOT NULL,
    attempts integer NOT NULL,
    stop_requested boolean NOT NULL,
    answer varchar NOT NULL,
    route varchar(40),
    mode varchar(40),
    quotes jsonb NOT NULL,
    citations jsonb NOT NULL,
    trace jsonb NOT NULL,
    prompt_tokens integer NOT NULL,
    cached_tokens integer NOT NULL,
    completion_tokens integer NOT NULL,
    error varchar,
    created_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    CONSTRAINT uq_turns_conversation_id_number UNIQUE (conversation_id, number)
)""",
    "CREATE INDEX ix_turns_community_id ON turns (community_id)",
    "CREATE INDEX ix_turns_open ON turns (created_at) WHERE status IN ('waiting', 'running')",
)

# The sweeper serves all communities: it learns which turns wait, and nothing that is in them.
OPEN_TURNS = """
CREATE FUNCTION open_turns(created_before timestamptz, rows_max integer)
    RETURNS TABLE (turn_id uuid, community_id uuid, conversation_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT t.id, t.community_id, t.conversation_id FROM turns t
          WHERE t.status IN ('waiting', 'running') AND t.created_at < created_before
          ORDER BY t.created_at LIMIT rows_max $$"""


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table in ("conversations", "turns"):
        for statement in fence_sql(table):
            op.execute(statement)
    op.execute(OPEN_TURNS)
    op.execute("REVOKE ALL ON FUNCTION open_turns FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION open_turns TO linli_app")


def downgrade() -> None:
    op.execute("DROP FUNCTION open_turns")
    op.execute("DROP TABLE turns")
    op.execute("DROP TABLE conversations")
