"""Incidents with their spaces, news, followers and notice; how orders were compared; the ledger of promises."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE incidents (
    id uuid CONSTRAINT pk_incidents PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_incidents_community_id REFERENCES communities ON DELETE CASCADE,
    kind varchar(40) NOT NULL,
    status varchar(40) NOT NULL,
    title varchar NOT NULL,
    resident_text varchar NOT NULL,
    resident_text_en varchar NOT NULL,
    category_id uuid CONSTRAINT fk_incidents_category_id REFERENCES work_order_categories ON DELETE SET NULL,
    began_at timestamptz NOT NULL,
    expected_end_at timestamptz,
    ended_at timestamptz,
    opened_by_kind varchar(40) NOT NULL,
    opened_by_id uuid,
    confirmed_at timestamptz,
    closed_at timestamptz,
    close_note varchar NOT NULL,
    news_number integer NOT NULL,
    told_number integer NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
)""",
    "CREATE INDEX ix_incidents_page ON incidents (community_id, id)",
    "CREATE INDEX ix_incidents_live ON incidents (community_id, id) WHERE status IN ('suspected', 'open')",
    "CREATE INDEX ix_incidents_untold ON incidents (updated_at) WHERE told_number < news_number",
    """
CREATE TABLE incident_spaces (
    incident_id uuid NOT NULL CONSTRAINT fk_incident_spaces_incident_id REFERENCES incidents ON DELETE CASCADE,
    space_id uuid NOT NULL CONSTRAINT fk_incident_spaces_space_id REFERENCES spaces ON DELETE CASCADE,
    community_id uuid NOT NULL CONSTRAINT fk_incident_spaces_community_id REFERENCES communities ON DELETE CASCADE,
    CONSTRAINT pk_incident_spaces PRIMARY KEY (incident_id, space_id)
)""",
    "CREATE INDEX ix_incident_spaces_space_id ON incident_spaces (space_id)",
    "CREATE INDEX ix_incident_spaces_community_id ON incident_spaces (community_id)",
    """
CREATE TABLE incident_news (
    id uuid CONSTRAINT pk_incident_news PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_incident_news_community_id REFERENCES communities ON DELETE CASCADE,
    incident_id uuid NOT NULL CONSTRAINT fk_incident_news_incident_id REFERENCES incidents ON DELETE CASCADE,
    number integer NOT NULL,
    text varchar NOT NULL,
    text_en varchar NOT NULL,
    expected_end_at timestamptz,
    ends boolean NOT NULL,
    by_kind varchar(40) NOT NULL,
    by_id uuid,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_incident_news_incident_id_number UNIQUE (incident_id, number)
)""",
    "CREATE INDEX ix_incident_news_community_id ON incident_news (community_id)",
    """
CREATE TABLE incident_followers (
    id uuid CONSTRAINT pk_incident_followers PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_incident_followers_community_id REFERENCES communities ON DELETE CASCADE,
    incident_id uuid NOT NULL CONSTRAINT fk_incident_followers_incident_id REFERENCES incidents ON DELETE CASCADE,
    resident_id uuid NOT NULL CONSTRAINT fk_incident_followers_resident_id REFERENCES residents ON DELETE CASCADE,
    source varchar(40) NOT NULL,
    told_number integer NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_incident_followers_incident_id_resident_id UNIQUE (incident_id, resident_id)
)""",
    "CREATE INDEX ix_incident_followers_community_id ON incident_followers (community_id)",
    "CREATE INDEX ix_incident_followers_resident_id ON incident_followers (resident_id)",
    """
CREATE TABLE incident_notices (
    incident_id uuid CONSTRAINT pk_incident_notices PRIMARY KEY
        CONSTRAINT fk_incident_notices_incident_id REFERENCES incidents ON DELETE CASCADE,
    community_id uuid NOT NULL CONSTRAINT fk_incident_notices_community_id REFERENCES communities ON DELETE CASCADE,
    title jsonb NOT NULL,
    body jsonb NOT NULL,
    facts jsonb NOT NULL,
    worded_by varchar NOT NULL,
    drafts_count integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
)""",
    "CREATE INDEX ix_incident_notices_community_id ON incident_notices (community_id)",
    """
CREATE TABLE work_order_matches (
    work_order_id uuid CONSTRAINT pk_work_order_matches PRIMARY KEY
        CONSTRAINT fk_work_order_matches_work_order_id REFERENCES work_orders ON DELETE CASCADE,
    community_id uuid NOT NULL CONSTRAINT fk_work_order_matches_community_id REFERENCES communities ON DELETE CASCADE,
    embedder varchar,
    vector real[],
    created_at timestamptz NOT NULL,
    matched_at timestamptz
)""",
    "CREATE INDEX ix_work_order_matches_waiting ON work_order_matches (created_at) WHERE matched_at IS NULL",
    "CREATE INDEX ix_work_order_matches_community_id ON work_order_matches (community_id)",
    """
CREATE TABLE promises (
    id uuid CONSTRAINT pk_promises PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_promises_community_id REFERENCES communities ON DELETE CASCADE,
    status varchar(40) NOT NULL,
    source varchar(40) NOT NULL,
    source_id uuid,
    by_kind varchar(40) NOT NULL,
    by_id uuid,
    to_resident_id uuid CONSTRAINT fk_promises_to_resident_id REFERENCES residents ON DELETE CASCADE,
    text varchar NOT NULL,
    due_at timestamptz NOT NULL,
    chase_at timestamptz NOT NULL,
    chased_at timestamptz,
    work_order_id uuid CONSTRAINT fk_promises_work_order_id REFERENCES work_orders ON DELETE CASCADE,
    conversation_id uuid,
    reason varchar NOT NULL,
    decided_by_id uuid,
    decided_at timestamptz,
    kept_at timestamptz,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_promises_community_id_source_source_id UNIQUE (community_id, source, source_id)
)""",
    "CREATE INDEX ix_promises_page ON promises (community_id, id)",
    "CREATE INDEX ix_promises_resident ON promises (community_id, to_resident_id, id)",
    "CREATE INDEX ix_promises_order ON promises (community_id, work_order_id) WHERE work_order_id IS NOT NULL",
    "CREATE INDEX ix_promises_due ON promises (due_at) WHERE status = 'open'",
    "CREATE INDEX ix_promises_chase ON promises (chase_at) WHERE status = 'open' AND chased_at IS NULL",
)
FENCED = (
    "incidents", "incident_spaces", "incident_news", "incident_followers", "incident_notices", "work_order_matches",
    "promises",
)  # fmt: skip

# Sweepers serve all communities: they learn what waits, and nothing that is in it.
FUNCTIONS = {
    "unmatched_work_orders(timestamptz, integer)": """
CREATE FUNCTION unmatched_work_orders(created_before timestamptz, rows_max integer)
    RETURNS TABLE (work_order_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT m.work_order_id, m.community_id FROM work_order_matches m
          WHERE m.matched_at IS NULL AND m.created_at < created_before
          ORDER BY m.created_at LIMIT rows_max $$""",
    "untold_incidents(timestamptz, integer)": """
CREATE FUNCTION untold_incidents(changed_before timestamptz, rows_max integer)
    RETURNS TABLE (incident_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT i.id, i.community_id FROM incidents i
          WHERE i.told_number < i.news_number AND i.updated_at < changed_before
          ORDER BY i.updated_at LIMIT rows_max $$""",
    "pressing_promises(timestamptz, integer)": """
CREATE FUNCTION pressing_promises(at timestamptz, rows_max integer)
    RETURNS TABLE (promise_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ (SELECT p.id, p.community_id FROM promises p
           WHERE p.status = 'open' AND p.due_at <= at ORDER BY p.due_at LIMIT rows_max)
          UNION
          (SELECT p.id, p.community_id FROM promises p
           WHERE p.status = 'open' AND p.chased_at IS NULL AND p.chase_at <= at ORDER BY p.chase_at LIMIT rows_max) $$""",
}


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table in FENCED:
        for statement in fence_sql(table):
            op.execute(statement)
    for signature, statement in FUNCTIONS.items():
        op.execute(statement)
        op.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO linli_app")


def downgrade() -> None:
    for signature in FUNCTIONS:
        op.execute(f"DROP FUNCTION {signature}")
    drop_tables([*reversed(FENCED)])
