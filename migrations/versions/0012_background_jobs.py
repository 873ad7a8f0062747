"""Imports and exports: jobs with their progress, and what was wrong with which row."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE background_jobs (
    id uuid CONSTRAINT pk_background_jobs PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_background_jobs_community_id REFERENCES communities ON DELETE CASCADE,
    kind varchar(40) NOT NULL,
    status varchar(40) NOT NULL,
    file_name varchar NOT NULL,
    total integer NOT NULL,
    next_row integer NOT NULL,
    done integer NOT NULL,
    created integer NOT NULL,
    changed integer NOT NULL,
    failed integer NOT NULL,
    error varchar,
    notes jsonb NOT NULL,
    claim_token bigint NOT NULL,
    created_by_kind varchar NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    touched_at timestamptz NOT NULL,
    finished_at timestamptz,
    payload jsonb NOT NULL,
    file bytea
)""",
    "CREATE INDEX ix_background_jobs_community_id_id ON background_jobs (community_id, id)",
    "CREATE INDEX ix_background_jobs_open ON background_jobs (touched_at) WHERE status IN ('waiting', 'running')",
    """
CREATE TABLE background_job_problems (
    id uuid CONSTRAINT pk_background_job_problems PRIMARY KEY,
    community_id uuid NOT NULL
        CONSTRAINT fk_background_job_problems_community_id REFERENCES communities ON DELETE CASCADE,
    job_id uuid NOT NULL CONSTRAINT fk_background_job_problems_job_id REFERENCES background_jobs ON DELETE CASCADE,
    line integer NOT NULL,
    column_name varchar NOT NULL,
    value varchar NOT NULL,
    code varchar NOT NULL,
    zh varchar NOT NULL,
    en varchar NOT NULL
)""",
    "CREATE INDEX ix_background_job_problems_community_id ON background_job_problems (community_id)",
    "CREATE INDEX ix_background_job_problems_job_id_id ON background_job_problems (job_id, id)",
)

# The sweeper serves all communities: it learns which jobs wait, and nothing that is in them.
FUNCTIONS = (
    """
CREATE FUNCTION open_background_jobs(touched_before timestamptz, rows_max integer)
    RETURNS TABLE (job_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT j.id, j.community_id FROM background_jobs j
          WHERE j.status IN ('waiting', 'running') AND j.touched_at < touched_before
          ORDER BY j.touched_at LIMIT rows_max $$""",
    """
CREATE FUNCTION forget_background_jobs(finished_before timestamptz) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ DELETE FROM background_jobs WHERE finished_at < finished_before $$""",
    "REVOKE ALL ON FUNCTION open_background_jobs, forget_background_jobs FROM PUBLIC",
    "GRANT EXECUTE ON FUNCTION open_background_jobs, forget_background_jobs TO linli_app",
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table in ("background_jobs", "background_job_problems"):
        for statement in fence_sql(table):
            op.execute(statement)
    for statement in FUNCTIONS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP FUNCTION open_background_jobs, forget_background_jobs")
    drop_tables(["background_job_problems", "background_jobs"])
