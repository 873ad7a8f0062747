"""Campaigns: their wordings, who was told or held out, and the rules that start one for a resident."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def _community(table: str) -> str:
    return f"community_id uuid NOT NULL CONSTRAINT fk_{table}_community_id REFERENCES communities ON DELETE CASCADE"


def _named(table: str, column: str, other: str) -> str:
    return f"{column} uuid NOT NULL CONSTRAINT fk_{table}_{column} REFERENCES {other} ON DELETE CASCADE"


TABLES = (
    f"""
CREATE TABLE campaigns (
    id uuid CONSTRAINT pk_campaigns PRIMARY KEY,
    {_community("campaigns")},
    name varchar NOT NULL,
    kind varchar(40) NOT NULL,
    status varchar(40) NOT NULL,
    hold varchar(40),
    item_ids uuid[] NOT NULL,
    goal varchar(40) NOT NULL,
    filter jsonb NOT NULL,
    holdout_percent integer NOT NULL,
    attribution_days integer NOT NULL,
    cap_messages integer,
    cap_days integer,
    seed varchar NOT NULL,
    send_at timestamptz,
    next_at timestamptz,
    last_resident_id uuid,
    started_at timestamptz,
    finished_at timestamptz,
    version integer NOT NULL,
    created_by_kind varchar(40) NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
)""",
    "CREATE INDEX ix_campaigns_page ON campaigns (community_id, id)",
    "CREATE INDEX ix_campaigns_due ON campaigns (next_at) WHERE next_at IS NOT NULL",
    f"""
CREATE TABLE campaign_variants (
    id uuid CONSTRAINT pk_campaign_variants PRIMARY KEY,
    {_community("campaign_variants")},
    {_named("campaign_variants", "campaign_id", "campaigns")},
    label varchar(1) NOT NULL,
    share integer NOT NULL,
    texts jsonb NOT NULL,
    worded_by varchar(40) NOT NULL,
    approved_at timestamptz,
    approved_by uuid,
    updated_at timestamptz NOT NULL,
    CONSTRAINT uq_campaign_variants_campaign_id_label UNIQUE (campaign_id, label)
)""",
    "CREATE INDEX ix_campaign_variants_community_id ON campaign_variants (community_id)",
    f"""
CREATE TABLE campaign_recipients (
    id uuid CONSTRAINT pk_campaign_recipients PRIMARY KEY,
    {_community("campaign_recipients")},
    {_named("campaign_recipients", "campaign_id", "campaigns")},
    {_named("campaign_recipients", "resident_id", "residents")},
    household_id uuid NOT NULL,
    arm varchar NOT NULL,
    status varchar(40) NOT NULL,
    left_out varchar(40),
    item_id uuid,
    occasion uuid NOT NULL,
    at timestamptz NOT NULL,
    CONSTRAINT uq_campaign_recipients_campaign_id_resident_id_occasion UNIQUE (campaign_id, resident_id, occasion)
)""",
    "CREATE INDEX ix_campaign_recipients_community_id ON campaign_recipients (community_id)",
    "CREATE INDEX ix_campaign_recipients_resident_id ON campaign_recipients (resident_id)",
    "CREATE INDEX ix_campaign_recipients_sent ON campaign_recipients (resident_id, at) WHERE status = 'sent'",
    f"""
CREATE TABLE campaign_rules (
    id uuid CONSTRAINT pk_campaign_rules PRIMARY KEY,
    {_community("campaign_rules")},
    {_named("campaign_rules", "campaign_id", "campaigns")},
    event varchar(40) NOT NULL,
    what varchar[] NOT NULL,
    category varchar NOT NULL,
    wait_hours integer NOT NULL,
    enabled boolean NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
)""",
    "CREATE INDEX ix_campaign_rules_page ON campaign_rules (community_id, id)",
    "CREATE INDEX ix_campaign_rules_campaign_id ON campaign_rules (campaign_id)",
    f"""
CREATE TABLE campaign_waits (
    id uuid CONSTRAINT pk_campaign_waits PRIMARY KEY,
    {_community("campaign_waits")},
    {_named("campaign_waits", "campaign_id", "campaigns")},
    {_named("campaign_waits", "rule_id", "campaign_rules")},
    {_named("campaign_waits", "resident_id", "residents")},
    item_id uuid CONSTRAINT fk_campaign_waits_item_id REFERENCES items ON DELETE CASCADE,
    occasion uuid NOT NULL,
    due_at timestamptz NOT NULL,
    done_at timestamptz,
    outcome varchar NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_campaign_waits_rule_id_resident_id_occasion UNIQUE (rule_id, resident_id, occasion)
)""",
    "CREATE UNIQUE INDEX uq_campaign_waits_open ON campaign_waits (rule_id, resident_id) WHERE done_at IS NULL",
    "CREATE INDEX ix_campaign_waits_due ON campaign_waits (due_at) WHERE done_at IS NULL",
    "CREATE INDEX ix_campaign_waits_community_id ON campaign_waits (community_id)",
    "CREATE INDEX ix_campaign_waits_campaign_id ON campaign_waits (campaign_id)",
    "CREATE INDEX ix_campaign_waits_resident_id ON campaign_waits (resident_id)",
    "CREATE INDEX ix_campaign_waits_item_id ON campaign_waits (item_id)",
)
FENCED = ("campaigns", "campaign_variants", "campaign_recipients", "campaign_rules", "campaign_waits")

# The sweeper serves all communities: it learns which campaigns have something to do, and nothing that is in them.
FUNCTIONS = {
    "due_campaigns(timestamptz, integer)": """
CREATE FUNCTION due_campaigns(due_before timestamptz, rows_max integer)
    RETURNS TABLE (campaign_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ (SELECT c.id, c.community_id FROM campaigns c
           WHERE c.next_at IS NOT NULL AND c.next_at <= due_before ORDER BY c.next_at LIMIT rows_max)
          UNION
          (SELECT w.campaign_id, w.community_id FROM campaign_waits w
           WHERE w.done_at IS NULL AND w.due_at <= due_before ORDER BY w.due_at LIMIT rows_max) $$""",
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
    drop_tables(list(reversed(FENCED)))
