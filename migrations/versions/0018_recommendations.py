"""Items to recommend, what residents did with them, what they were shown and why, and the rankers that were trained."""

from alembic import op

from app.db import fence_sql
from migrations.going_back import drop_tables

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

TABLES = (
    # One row a community: its counters are read with every request, so that caches know when they are old.
    """
CREATE TABLE recommendation_states (
    community_id uuid CONSTRAINT pk_recommendation_states PRIMARY KEY
        CONSTRAINT fk_recommendation_states_community_id REFERENCES communities ON DELETE CASCADE,
    catalogue_number bigint NOT NULL,
    ranker_number integer NOT NULL
)""",
    """
CREATE TABLE items (
    id uuid CONSTRAINT pk_items PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_items_community_id REFERENCES communities ON DELETE CASCADE,
    external_id varchar,
    kind varchar(40) NOT NULL,
    title varchar NOT NULL,
    title_en varchar NOT NULL,
    text varchar NOT NULL,
    text_en varchar NOT NULL,
    categories varchar[] NOT NULL,
    provider varchar NOT NULL,
    owner_resident_id uuid CONSTRAINT fk_items_owner_resident_id REFERENCES residents ON DELETE SET NULL,
    space_id uuid CONSTRAINT fk_items_space_id REFERENCES spaces ON DELETE SET NULL,
    building_id uuid,
    place varchar NOT NULL,
    audience varchar(40) NOT NULL,
    building_ids uuid[] NOT NULL,
    price_cents bigint NOT NULL,
    capacity integer,
    joined_count integer NOT NULL,
    starts_at timestamptz,
    ends_at timestamptz,
    expires_at timestamptz,
    enabled boolean NOT NULL,
    deleted_at timestamptz,
    embedder varchar,
    embedding halfvec,
    catalogue_number bigint NOT NULL,
    version integer NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
)""",
    "CREATE INDEX ix_items_page ON items (community_id, id) WHERE deleted_at IS NULL",
    "CREATE INDEX ix_items_catalogue ON items (community_id, catalogue_number)",
    """CREATE UNIQUE INDEX uq_items_external_id ON items (community_id, external_id)
       WHERE deleted_at IS NULL AND external_id IS NOT NULL""",
    "CREATE INDEX ix_items_full ON items (community_id, id) WHERE joined_count >= capacity AND deleted_at IS NULL",
    "CREATE INDEX ix_items_unembedded ON items (community_id) WHERE embedder IS NULL AND deleted_at IS NULL",
    "CREATE INDEX ix_items_embedder ON items (embedder, community_id) WHERE deleted_at IS NULL",
    "CREATE INDEX ix_items_space_id ON items (space_id) WHERE space_id IS NOT NULL",
    "CREATE INDEX ix_items_owner_resident_id ON items (owner_resident_id) WHERE owner_resident_id IS NOT NULL",
    """
CREATE TABLE item_feedback (
    id uuid CONSTRAINT pk_item_feedback PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_item_feedback_community_id REFERENCES communities ON DELETE CASCADE,
    item_id uuid NOT NULL CONSTRAINT fk_item_feedback_item_id REFERENCES items ON DELETE CASCADE,
    resident_id uuid CONSTRAINT fk_item_feedback_resident_id REFERENCES residents ON DELETE CASCADE,
    outside_person varchar,
    kind varchar(40) NOT NULL,
    occasion varchar NOT NULL,
    rating real,
    list_id uuid,
    at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT uq_item_feedback_once UNIQUE NULLS NOT DISTINCT (resident_id, outside_person, item_id, kind, occasion),
    CONSTRAINT ck_item_feedback_person CHECK ((resident_id IS NULL) <> (outside_person IS NULL))
)""",
    "CREATE INDEX ix_item_feedback_resident ON item_feedback (community_id, resident_id, at)",
    "CREATE INDEX ix_item_feedback_at ON item_feedback (community_id, at)",
    "CREATE INDEX ix_item_feedback_item_id ON item_feedback (item_id)",
    "CREATE INDEX ix_item_feedback_list_id ON item_feedback (list_id) WHERE list_id IS NOT NULL",
    """
CREATE TABLE recommendation_profiles (
    resident_id uuid CONSTRAINT pk_recommendation_profiles PRIMARY KEY
        CONSTRAINT fk_recommendation_profiles_resident_id REFERENCES residents ON DELETE CASCADE,
    community_id uuid NOT NULL
        CONSTRAINT fk_recommendation_profiles_community_id REFERENCES communities ON DELETE CASCADE,
    interests varchar[] NOT NULL,
    about varchar NOT NULL,
    hidden_categories varchar[] NOT NULL,
    personalised boolean NOT NULL,
    opted_out boolean NOT NULL,
    marketing_opted_out boolean NOT NULL,
    embedder varchar,
    embedding halfvec,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
)""",
    "CREATE INDEX ix_recommendation_profiles_community_id ON recommendation_profiles (community_id)",
    # One row a list that was shown: the arrays go together, position by position.
    """
CREATE TABLE recommendation_lists (
    id uuid CONSTRAINT pk_recommendation_lists PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_recommendation_lists_community_id REFERENCES communities ON DELETE CASCADE,
    resident_id uuid NOT NULL CONSTRAINT fk_recommendation_lists_resident_id REFERENCES residents ON DELETE CASCADE,
    purpose varchar(40) NOT NULL,
    personalised boolean NOT NULL,
    ranked boolean NOT NULL,
    ranker_number integer NOT NULL,
    item_ids uuid[] NOT NULL,
    sources varchar[] NOT NULL,
    scores real[] NOT NULL,
    propensities real[] NOT NULL,
    created_at timestamptz NOT NULL
)""",
    "CREATE INDEX ix_recommendation_lists_resident ON recommendation_lists (community_id, resident_id, created_at)",
    "CREATE INDEX ix_recommendation_lists_at ON recommendation_lists (community_id, created_at)",
    "CREATE INDEX ix_recommendation_lists_created_at ON recommendation_lists (created_at)",
    """
CREATE TABLE ranker_versions (
    id uuid CONSTRAINT pk_ranker_versions PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_ranker_versions_community_id REFERENCES communities ON DELETE CASCADE,
    number integer NOT NULL,
    status varchar(40) NOT NULL,
    reason varchar NOT NULL,
    seed bigint NOT NULL,
    events_count integer NOT NULL,
    metrics jsonb NOT NULL,
    file_key varchar,
    sha256 varchar,
    bytes_count integer,
    claim_token bigint NOT NULL,
    created_by_kind varchar(40) NOT NULL,
    created_by uuid NOT NULL,
    created_at timestamptz NOT NULL,
    touched_at timestamptz NOT NULL,
    trained_at timestamptz,
    promoted_at timestamptz,
    CONSTRAINT uq_ranker_versions_community_id_number UNIQUE (community_id, number)
)""",
    "CREATE INDEX ix_ranker_versions_page ON ranker_versions (community_id, id)",
    "CREATE UNIQUE INDEX uq_ranker_versions_live ON ranker_versions (community_id) WHERE status = 'live'",
    """CREATE UNIQUE INDEX uq_ranker_versions_unfinished ON ranker_versions (community_id)
       WHERE status IN ('waiting', 'training')""",
    "CREATE INDEX ix_ranker_versions_waiting ON ranker_versions (touched_at) WHERE status IN ('waiting', 'training')",
)
FENCED = (
    "recommendation_states", "items", "item_feedback", "recommendation_profiles", "recommendation_lists",
    "ranker_versions",
)  # fmt: skip

# Sweepers serve all communities: they learn what waits, and nothing that is in it.
FUNCTIONS = {
    "communities_with_unembedded_items(varchar, integer)": """
CREATE FUNCTION communities_with_unembedded_items(wanted_embedder varchar, rows_max integer)
    RETURNS TABLE (community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT DISTINCT found.community_id FROM (
              (SELECT i.community_id FROM items i WHERE i.embedder IS NULL AND i.deleted_at IS NULL)
              UNION ALL (SELECT i.community_id FROM items i WHERE i.embedder < wanted_embedder AND i.deleted_at IS NULL)
              UNION ALL (SELECT i.community_id FROM items i WHERE i.embedder > wanted_embedder AND i.deleted_at IS NULL)
          ) found LIMIT rows_max $$""",
    "waiting_ranker_versions(timestamptz, integer)": """
CREATE FUNCTION waiting_ranker_versions(touched_before timestamptz, rows_max integer)
    RETURNS TABLE (ranker_version_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT v.id, v.community_id FROM ranker_versions v
          WHERE v.status IN ('waiting', 'training') AND v.touched_at < touched_before
          ORDER BY v.touched_at LIMIT rows_max $$""",
    # Whose last training began before that moment, and where something happened since.
    "communities_to_train(timestamptz, integer)": """
CREATE FUNCTION communities_to_train(trained_before timestamptz, rows_max integer)
    RETURNS TABLE (community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT s.community_id FROM recommendation_states s
          LEFT JOIN LATERAL (SELECT max(v.created_at) AS at FROM ranker_versions v
                             WHERE v.community_id = s.community_id) last ON true
          WHERE (last.at IS NULL OR last.at < trained_before)
            AND EXISTS (SELECT FROM item_feedback f WHERE f.community_id = s.community_id
                        AND f.created_at > coalesce(last.at, '-infinity'))
          LIMIT rows_max $$""",
    "forget_recommendation_lists(timestamptz, integer)": """
CREATE FUNCTION forget_recommendation_lists(shown_before timestamptz, rows_max integer) RETURNS integer
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ WITH gone AS (DELETE FROM recommendation_lists WHERE id IN (
              SELECT id FROM recommendation_lists WHERE created_at < shown_before ORDER BY created_at LIMIT rows_max
          ) RETURNING 1) SELECT count(*)::integer FROM gone $$""",
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
