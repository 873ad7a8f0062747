"""Documents, passages in a partition per community, vector centres, approved answers."""

from alembic import op

from app.db import fence_sql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = (
    """
CREATE TABLE documents (
    id uuid CONSTRAINT pk_documents PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_documents_community_id REFERENCES communities ON DELETE CASCADE,
    source_key varchar NOT NULL,
    version integer NOT NULL,
    file_name varchar NOT NULL,
    title varchar NOT NULL,
    kind varchar NOT NULL,
    language varchar(40) NOT NULL,
    sha256 varchar NOT NULL,
    bytes_count integer NOT NULL,
    audience varchar(40) NOT NULL,
    building_id uuid,
    valid_from timestamptz,
    valid_until timestamptz,
    replaces_key varchar,
    replaced_at timestamptz,
    replaced_by uuid,
    status varchar(40) NOT NULL,
    error varchar,
    passages_count integer NOT NULL,
    passages_done integer NOT NULL,
    uploaded_by uuid,
    created_at timestamptz NOT NULL,
    ready_at timestamptz,
    file bytea NOT NULL,
    blocks jsonb NOT NULL,
    CONSTRAINT uq_documents_community_id_source_key_version UNIQUE (community_id, source_key, version)
)""",
    "CREATE INDEX ix_documents_waiting ON documents (created_at) WHERE status = 'waiting'",
    """
CREATE TABLE passages (
    community_id uuid NOT NULL,
    id uuid NOT NULL,
    document_id uuid NOT NULL,
    ordinal integer NOT NULL,
    headings varchar[] NOT NULL,
    text varchar NOT NULL,
    page integer,
    language varchar(40) NOT NULL,
    embedding halfvec NOT NULL,
    words tsvector NOT NULL,
    words_count integer NOT NULL,
    audience varchar(40) NOT NULL,
    building_id uuid,
    valid_from timestamptz,
    valid_until timestamptz,
    replaced_at timestamptz,
    CONSTRAINT pk_passages PRIMARY KEY (community_id, id)
) PARTITION BY LIST (community_id)""",
    "CREATE INDEX ix_passages_document_id ON passages (document_id)",
    "CREATE INDEX ix_passages_words ON passages USING gin (words)",
    """
CREATE TABLE embedding_states (
    community_id uuid NOT NULL CONSTRAINT fk_embedding_states_community_id REFERENCES communities ON DELETE CASCADE,
    language varchar(40) NOT NULL,
    embedder varchar NOT NULL,
    width integer NOT NULL,
    centre vector,
    passages_count integer NOT NULL,
    words_mean double precision NOT NULL,
    CONSTRAINT pk_embedding_states PRIMARY KEY (community_id, language)
)""",
    """
CREATE TABLE approved_answers (
    id uuid CONSTRAINT pk_approved_answers PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_approved_answers_community_id REFERENCES communities ON DELETE CASCADE,
    questions varchar[] NOT NULL,
    answer_zh varchar NOT NULL,
    answer_en varchar NOT NULL,
    audience varchar(40) NOT NULL,
    document_id uuid CONSTRAINT fk_approved_answers_document_id REFERENCES documents ON DELETE SET NULL,
    enabled boolean NOT NULL,
    hits integer NOT NULL,
    version integer NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now()
)""",
    "CREATE INDEX ix_approved_answers_community_id ON approved_answers (community_id)",
    """
CREATE TABLE approved_questions (
    id uuid CONSTRAINT pk_approved_questions PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_approved_questions_community_id REFERENCES communities ON DELETE CASCADE,
    answer_id uuid NOT NULL CONSTRAINT fk_approved_questions_answer_id REFERENCES approved_answers ON DELETE CASCADE,
    text varchar NOT NULL,
    embedder varchar NOT NULL,
    embedding halfvec NOT NULL
)""",
    "CREATE INDEX ix_approved_questions_community_id ON approved_questions (community_id)",
    "CREATE INDEX ix_approved_questions_answer_id ON approved_questions (answer_id)",
)

FENCED = ("documents", "passages", "embedding_states", "approved_answers", "approved_questions")

# The app role owns no table, so partitions and their indexes are made by functions of the owner. Both work only for the
# community of the transaction, or (when a community is being created by its company) one of that company.
FUNCTIONS = (
    """
CREATE FUNCTION is_own_community(wanted uuid) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT wanted = nullif(current_setting('app.community_id', true), '')::uuid OR EXISTS (
          SELECT FROM communities c WHERE c.id = wanted
             AND c.organisation_id = nullif(current_setting('app.organisation_id', true), '')::uuid) $$""",
    """
CREATE FUNCTION create_community_partitions(wanted uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE partition text := 'passages_' || replace(wanted::text, '-', '');
BEGIN
    IF NOT is_own_community(wanted) THEN RAISE EXCEPTION 'not a community of this transaction'; END IF;
    IF to_regclass(partition) IS NOT NULL THEN RETURN; END IF;
    -- Attached rather than created in place, which would lock every community's passages.
    EXECUTE format('CREATE TABLE %I (LIKE passages INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
    -- Rows are reached through the parent and its policies; the partition by itself shows nobody anything.
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', partition);
    EXECUTE format('ALTER TABLE passages ATTACH PARTITION %I FOR VALUES IN (%L)', partition, wanted);
END $$""",
    # Nearest neighbours within one language: an index for both would fill up with the language of the question.
    """
CREATE FUNCTION index_community_passages(wanted uuid, width integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
DECLARE
    partition text := 'passages_' || replace(wanted::text, '-', '');
    spoken text;
    index_name text;
    known real := (SELECT reltuples FROM pg_class WHERE oid = to_regclass(partition));
    held bigint := (SELECT coalesce(sum(passages_count), 0) FROM embedding_states s WHERE s.community_id = wanted);
BEGIN
    IF NOT is_own_community(wanted) THEN RAISE EXCEPTION 'not a community of this transaction'; END IF;
    -- Until the server's own round comes by, a partition that just filled up is planned for as if it were empty:
    -- measured, a search over 8,000 passages took four times as long.
    IF held > 2 * greatest(known, 50) THEN EXECUTE format('ANALYZE %I', partition); END IF;
    FOREACH spoken IN ARRAY ARRAY['zh', 'en'] LOOP
        index_name := format('%s_%s_%s', replace(partition, 'passages_', 'near_'), spoken, width);
        IF to_regclass(index_name) IS NULL THEN
            EXECUTE format('CREATE INDEX %I ON %I USING hnsw ((embedding::halfvec(%s)) halfvec_ip_ops)
                WHERE language = %L AND vector_dims(embedding) = %s', index_name, partition, width, spoken, width);
        END IF;
    END LOOP;
END $$""",
    """
CREATE FUNCTION drop_community_partitions(wanted uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$
BEGIN
    IF NOT is_own_community(wanted) THEN RAISE EXCEPTION 'not a community of this transaction'; END IF;
    EXECUTE format('DROP TABLE IF EXISTS %I', 'passages_' || replace(wanted::text, '-', ''));
END $$""",
    # Row-level security keeps the GIN index from being used (text search may leak), so candidates are found by the
    # owner, inside the transaction's community only; the caller then reads them through its own fence.
    """
CREATE FUNCTION wording_candidates(spoken varchar, asked tsquery, lexemes text[], rows_max integer)
    RETURNS TABLE (passage_id uuid, lexeme text, times integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ WITH best AS MATERIALIZED (
              SELECT p.id, p.words FROM passages p
              WHERE p.community_id = nullif(current_setting('app.community_id', true), '')::uuid
                AND p.language = spoken AND p.words @@ asked
              ORDER BY ts_rank(p.words, asked) DESC LIMIT rows_max)
          SELECT best.id, word.lexeme, cardinality(word.positions) FROM best, unnest(best.words) word
          WHERE word.lexeme = ANY(lexemes) $$""",
    """
CREATE FUNCTION wording_frequencies(spoken varchar, quoted text[]) RETURNS TABLE (place integer, passages integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT term.place::integer, (
              SELECT count(*)::integer FROM passages p
              WHERE p.community_id = nullif(current_setting('app.community_id', true), '')::uuid
                AND p.language = spoken AND p.words @@ term.quoted::tsquery)
          FROM unnest(quoted) WITH ORDINALITY term(quoted, place) $$""",
    # The sweeper serves all communities: it learns which documents wait, and nothing that is in them.
    """
CREATE FUNCTION waiting_documents(created_before timestamptz, rows_max integer)
    RETURNS TABLE (document_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT d.id, d.community_id FROM documents d
          WHERE d.status = 'waiting' AND d.created_at < created_before ORDER BY d.created_at LIMIT rows_max $$""",
)
NAMES = (
    "is_own_community, create_community_partitions, index_community_passages, drop_community_partitions, "
    "wording_candidates, wording_frequencies, waiting_documents"
)


def upgrade() -> None:
    for statement in TABLES:
        op.execute(statement)
    for table in FENCED:
        for statement in fence_sql(table):
            op.execute(statement)
    for function in FUNCTIONS:
        op.execute(function)
    op.execute(f"REVOKE ALL ON FUNCTION {NAMES} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {NAMES} TO linli_app")


def downgrade() -> None:
    op.execute(f"DROP FUNCTION {NAMES}")
    for table in reversed(FENCED):
        op.execute(f"DROP TABLE {table}")
