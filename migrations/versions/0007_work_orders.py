"""Work orders with their categories, events, comments and files, and the sweeper's look at what triage left out.

Old code: never had the rights that are revoked here, on tables it does not know.
"""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

COMMUNITY = "community_id uuid NOT NULL CONSTRAINT fk_{0}_community_id REFERENCES communities ON DELETE CASCADE"
ORDER = "work_order_id uuid NOT NULL CONSTRAINT fk_{0}_work_order_id REFERENCES work_orders ON DELETE CASCADE"

CATEGORIES = f"""
CREATE TABLE work_order_categories (
    id uuid CONSTRAINT pk_work_order_categories PRIMARY KEY,
    {COMMUNITY.format("work_order_categories")},
    parent_id uuid CONSTRAINT fk_work_order_categories_parent_id
        REFERENCES work_order_categories ON DELETE CASCADE,
    code varchar NOT NULL,
    name varchar NOT NULL,
    name_en varchar NOT NULL,
    order_kind varchar(40) NOT NULL,
    skill varchar NOT NULL,
    respond_minutes integer,
    resolve_minutes integer,
    class varchar(40) NOT NULL,
    archived_at timestamptz,
    version integer NOT NULL,
    CONSTRAINT uq_work_order_categories_community_id_code UNIQUE (community_id, code)
)"""

COUNTERS = """
CREATE TABLE work_order_counters (
    community_id uuid CONSTRAINT pk_work_order_counters PRIMARY KEY
        CONSTRAINT fk_work_order_counters_community_id REFERENCES communities ON DELETE CASCADE,
    last_number integer NOT NULL
)"""

ORDERS = f"""
CREATE TABLE work_orders (
    id uuid CONSTRAINT pk_work_orders PRIMARY KEY,
    {COMMUNITY.format("work_orders")},
    number integer NOT NULL,
    kind varchar(40) NOT NULL,
    status varchar(40) NOT NULL,
    category_id uuid CONSTRAINT fk_work_orders_category_id REFERENCES work_order_categories ON DELETE SET NULL,
    urgency varchar(40) NOT NULL,
    title varchar NOT NULL,
    text varchar NOT NULL,
    language varchar NOT NULL,
    space_id uuid CONSTRAINT fk_work_orders_space_id REFERENCES spaces ON DELETE SET NULL,
    building_id uuid,
    place_text varchar NOT NULL,
    channel varchar(40) NOT NULL,
    reporter_kind varchar(40) NOT NULL,
    reporter_id uuid,
    household_id uuid CONSTRAINT fk_work_orders_household_id REFERENCES households ON DELETE SET NULL,
    contact_name varchar NOT NULL,
    contact_phone varchar NOT NULL,
    entry_ok boolean,
    time_window_start timestamptz,
    time_window_end timestamptz,
    assignee_id uuid,
    about_staff_id uuid,
    needs_person boolean NOT NULL,
    auto_classified boolean NOT NULL,
    confidence double precision,
    triage jsonb,
    why jsonb,
    emergency_kind varchar,
    incident_id uuid,
    duplicate_of_id uuid,
    conversation_id uuid,
    turn_id uuid,
    quote_cents integer,
    currency varchar,
    rating_speed integer,
    rating_quality integer,
    rating_attitude integer,
    rating_comment varchar NOT NULL,
    urged_count integer NOT NULL,
    reopened_count integer NOT NULL,
    respond_due_at timestamptz,
    due_at timestamptz,
    warned_at timestamptz,
    overdue_at timestamptz,
    escalated_at timestamptz,
    paused_at timestamptz,
    paused_seconds integer NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    accepted_at timestamptz,
    completed_at timestamptz,
    closed_at timestamptz,
    CONSTRAINT uq_work_orders_community_id_number UNIQUE (community_id, number)
)"""

EVENTS = f"""
CREATE TABLE work_order_events (
    id uuid CONSTRAINT pk_work_order_events PRIMARY KEY,
    {COMMUNITY.format("work_order_events")},
    {ORDER.format("work_order_events")},
    kind varchar(40) NOT NULL,
    from_status varchar(40),
    to_status varchar(40),
    actor_kind varchar(40) NOT NULL,
    actor_id uuid,
    note varchar NOT NULL,
    facts jsonb NOT NULL,
    created_at timestamptz NOT NULL
)"""

COMMENTS = f"""
CREATE TABLE work_order_comments (
    id uuid CONSTRAINT pk_work_order_comments PRIMARY KEY,
    {COMMUNITY.format("work_order_comments")},
    {ORDER.format("work_order_comments")},
    author_kind varchar(40) NOT NULL,
    author_id uuid NOT NULL,
    author_name varchar NOT NULL,
    visibility varchar(40) NOT NULL,
    text varchar NOT NULL,
    created_at timestamptz NOT NULL
)"""

FILES = f"""
CREATE TABLE work_order_files (
    id uuid CONSTRAINT pk_work_order_files PRIMARY KEY,
    {COMMUNITY.format("work_order_files")},
    {ORDER.format("work_order_files")},
    author_kind varchar(40) NOT NULL,
    author_id uuid NOT NULL,
    visibility varchar(40) NOT NULL,
    name varchar NOT NULL,
    media_type varchar NOT NULL,
    bytes_count integer NOT NULL,
    width integer,
    height integer,
    sha256 varchar NOT NULL,
    storage_key varchar NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_work_order_files_work_order_id_sha256_visibility UNIQUE (work_order_id, sha256, visibility)
)"""

INDEXES = (
    "CREATE INDEX ix_work_order_categories_parent_id ON work_order_categories (parent_id)",
    "CREATE INDEX ix_work_orders_page ON work_orders (community_id, id)",
    "CREATE INDEX ix_work_orders_created ON work_orders (community_id, created_at, id)",
    "CREATE INDEX ix_work_orders_open ON work_orders (community_id, id) WHERE closed_at IS NULL",
    "CREATE INDEX ix_work_orders_status ON work_orders (community_id, status, id)",
    "CREATE INDEX ix_work_orders_building ON work_orders (community_id, building_id, id)",
    "CREATE INDEX ix_work_orders_category ON work_orders (community_id, category_id, id)",
    "CREATE INDEX ix_work_orders_reporter ON work_orders (community_id, reporter_id, id)",
    "CREATE INDEX ix_work_orders_space ON work_orders (community_id, space_id, id)",
    "CREATE INDEX ix_work_orders_assignee ON work_orders (community_id, assignee_id, id) WHERE assignee_id IS NOT NULL",
    "CREATE INDEX ix_work_orders_pressing ON work_orders (community_id, urgency, id) WHERE urgency <> 'routine'",
    "CREATE INDEX ix_work_orders_overdue ON work_orders (community_id, id)"
    " WHERE overdue_at IS NOT NULL AND closed_at IS NULL",
    "CREATE INDEX ix_work_orders_due ON work_orders (community_id, due_at, id)"
    " WHERE closed_at IS NULL AND due_at IS NOT NULL",
    "CREATE INDEX ix_work_orders_untriaged ON work_orders (created_at) WHERE triage IS NULL",
    "CREATE INDEX ix_work_orders_incident ON work_orders (community_id, incident_id) WHERE incident_id IS NOT NULL",
    "CREATE INDEX ix_work_orders_duplicate ON work_orders (community_id, duplicate_of_id)"
    " WHERE duplicate_of_id IS NOT NULL",
    "CREATE INDEX ix_work_orders_conversation ON work_orders (community_id, conversation_id)"
    " WHERE conversation_id IS NOT NULL",
    "CREATE INDEX ix_work_order_events_order ON work_order_events (community_id, work_order_id, id)",
    "CREATE INDEX ix_work_order_comments_order ON work_order_comments (community_id, work_order_id, id)",
    "CREATE INDEX ix_work_order_files_community_id ON work_order_files (community_id)",
)

FENCED = (
    "work_order_categories", "work_order_counters", "work_orders", "work_order_events", "work_order_comments",
    "work_order_files",
)  # fmt: skip

# What happened stays happened, and an order is closed, never deleted: not even a mistake of ours can do either.
APPEND_ONLY = (
    "REVOKE UPDATE, DELETE ON work_order_events FROM linli_app",
    "REVOKE DELETE ON work_orders FROM linli_app",
    "REVOKE DELETE ON work_order_counters FROM linli_app",
)

# The sweeper serves all communities: it learns which orders triage has not seen, and nothing that is in them.
UNTRIAGED = """
CREATE FUNCTION untriaged_work_orders(created_before timestamptz, rows_max integer)
    RETURNS TABLE (work_order_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT o.id, o.community_id FROM work_orders o
          WHERE o.triage IS NULL AND o.created_at < created_before
          ORDER BY o.created_at LIMIT rows_max $$"""


def upgrade() -> None:
    for table in (CATEGORIES, COUNTERS, ORDERS, EVENTS, COMMENTS, FILES):
        op.execute(table)
    for index in INDEXES:
        op.execute(index)
    for name in FENCED:
        for statement in fence_sql(name):
            op.execute(statement)
    for statement in APPEND_ONLY:
        op.execute(statement)
    op.execute(UNTRIAGED)
    op.execute("REVOKE ALL ON FUNCTION untriaged_work_orders FROM PUBLIC")
    op.execute("GRANT EXECUTE ON FUNCTION untriaged_work_orders TO linli_app")


def downgrade() -> None:
    op.execute("DROP FUNCTION untriaged_work_orders")
    drop_tables([*reversed(FENCED)])
