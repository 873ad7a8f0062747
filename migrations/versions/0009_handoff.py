"""A person takes over a conversation: who has it, what people said in it, drafts for staff, replies kept ready."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Constant defaults are written to no row; `now()` counts once, so conversations of before are as old as this migration
# and among themselves in the order of their ids.
COLUMNS = """
ALTER TABLE conversations
    ADD COLUMN status varchar(40) NOT NULL DEFAULT 'bot',
    ADD COLUMN reason varchar(40),
    ADD COLUMN assignee_id uuid,
    ADD COLUMN labels jsonb NOT NULL DEFAULT '[]',
    ADD COLUMN last_activity_at timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN read_number integer NOT NULL DEFAULT 0,
    ADD COLUMN requested_at timestamptz,
    ADD COLUMN chase_at timestamptz,
    ADD COLUMN chased integer NOT NULL DEFAULT 0"""
INDEXES = (
    "CREATE INDEX ix_conversations_activity ON conversations (community_id, last_activity_at, id)",
    "CREATE INDEX ix_conversations_status_activity ON conversations (community_id, status, last_activity_at, id)",
    "CREATE INDEX ix_conversations_assignee_activity ON conversations (community_id, assignee_id, last_activity_at, id)"
    " WHERE assignee_id IS NOT NULL",
    "CREATE INDEX ix_conversations_chase_at ON conversations (chase_at) WHERE chase_at IS NOT NULL",
)
TABLES = {
    "conversation_messages": """
CREATE TABLE conversation_messages (
    id uuid CONSTRAINT pk_conversation_messages PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_conversation_messages_community_id
        REFERENCES communities ON DELETE CASCADE,
    conversation_id uuid NOT NULL CONSTRAINT fk_conversation_messages_conversation_id
        REFERENCES conversations ON DELETE CASCADE,
    number integer NOT NULL,
    kind varchar(40) NOT NULL,
    author_id uuid,
    author_name varchar NOT NULL,
    text varchar NOT NULL,
    text_en varchar NOT NULL,
    facts jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_conversation_messages_conversation_id_number UNIQUE (conversation_id, number)
)""",
    "conversation_drafts": """
CREATE TABLE conversation_drafts (
    id uuid CONSTRAINT pk_conversation_drafts PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_conversation_drafts_community_id REFERENCES communities ON DELETE CASCADE,
    conversation_id uuid NOT NULL CONSTRAINT fk_conversation_drafts_conversation_id
        REFERENCES conversations ON DELETE CASCADE,
    turn_id uuid CONSTRAINT uq_conversation_drafts_turn_id UNIQUE,
    asked_by uuid,
    kind varchar(40) NOT NULL,
    status varchar(40) NOT NULL,
    language varchar NOT NULL,
    text_given varchar NOT NULL,
    up_to_number integer NOT NULL,
    text varchar NOT NULL,
    mode varchar(40),
    citations jsonb NOT NULL,
    facts jsonb NOT NULL,
    claim_token bigint NOT NULL,
    attempts integer NOT NULL,
    error varchar,
    created_at timestamptz NOT NULL,
    finished_at timestamptz
)""",
    "canned_replies": """
CREATE TABLE canned_replies (
    id uuid CONSTRAINT pk_canned_replies PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_canned_replies_community_id REFERENCES communities ON DELETE CASCADE,
    code varchar NOT NULL,
    text varchar NOT NULL,
    text_en varchar NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_canned_replies_community_id_code UNIQUE (community_id, code)
)""",
}
MORE_INDEXES = (
    "CREATE INDEX ix_conversation_messages_community_id ON conversation_messages (community_id)",
    "CREATE INDEX ix_conversation_drafts_community_id ON conversation_drafts (community_id)",
    "CREATE INDEX ix_conversation_drafts_conversation_id_id ON conversation_drafts (conversation_id, id)",
    "CREATE INDEX ix_conversation_drafts_open ON conversation_drafts (created_at)"
    " WHERE status IN ('waiting', 'running')",
)
# The sweepers serve all communities: they learn which rows are due, and nothing that is in them.
FUNCTIONS = (
    """
CREATE FUNCTION conversations_to_chase(due_at timestamptz, rows_max integer)
    RETURNS TABLE (conversation_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT c.id, c.community_id FROM conversations c
          WHERE c.chase_at IS NOT NULL AND c.chase_at <= due_at ORDER BY c.chase_at LIMIT rows_max $$""",
    """
CREATE FUNCTION open_conversation_drafts(created_before timestamptz, rows_max integer)
    RETURNS TABLE (draft_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT d.id, d.community_id FROM conversation_drafts d
          WHERE d.status IN ('waiting', 'running') AND d.created_at < created_before
          ORDER BY d.created_at LIMIT rows_max $$""",
)
NAMES = ("conversations_to_chase", "open_conversation_drafts")


def upgrade() -> None:
    op.execute(COLUMNS)
    for statement in INDEXES:
        op.execute(statement)
    for table, statement in TABLES.items():
        op.execute(statement)
        for fence in fence_sql(table):
            op.execute(fence)
    for statement in (*MORE_INDEXES, *FUNCTIONS):
        op.execute(statement)
    for name in NAMES:
        op.execute(f"REVOKE ALL ON FUNCTION {name} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {name} TO linli_app")


def downgrade() -> None:
    for name in NAMES:
        op.execute(f"DROP FUNCTION {name}")
    drop_tables([*reversed(TABLES)], altered=["conversations"])
    op.execute(
        "ALTER TABLE conversations DROP COLUMN status, DROP COLUMN reason, DROP COLUMN assignee_id, DROP COLUMN labels,"
        " DROP COLUMN last_activity_at, DROP COLUMN read_number, DROP COLUMN requested_at, DROP COLUMN chase_at,"
        " DROP COLUMN chased"
    )
