"""Communities of any size: wording looks at a bounded number of passages, and pages are read along an index."""

import itertools

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# A token that thousands of passages hold is not counted to the end: the passages are looked at in the order they lie in,
# and the share of the table that the first 300 take up says about how many there are. Below that it is exact.
FREQUENCIES = """
CREATE OR REPLACE FUNCTION wording_frequencies(spoken varchar, quoted text[])
    RETURNS TABLE (place integer, passages integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ WITH whole AS MATERIALIZED (
              SELECT nullif(current_setting('app.community_id', true), '')::uuid AS community,
                     pg_relation_size(to_regclass('passages_' || replace(
                         current_setting('app.community_id', true), '-', '')))
                     / current_setting('block_size')::integer AS pages)
          SELECT term.place::integer, CASE WHEN first.held < 300 THEN first.held ELSE greatest(
                     first.held, first.held * (SELECT pages FROM whole) / (first.page + 1)) END::integer
          FROM unnest(quoted) WITH ORDINALITY term(quoted, place), LATERAL (
              SELECT count(*) AS held, coalesce((max(row.ctid)::text::point)[0], 0)::bigint AS page FROM (
                  SELECT p.ctid FROM passages p
                  WHERE p.community_id = (SELECT community FROM whole)
                    AND p.language = spoken AND p.words @@ term.quoted::tsquery LIMIT 300) row) first $$"""

# Besides what it proposes, the scores of passages that their meaning proposed. How often a passage holds a token is read
# from `ts_rank` of that token alone, which is .1 * (1 + 1/4 + ... + 1/n^2) / (pi^2 / 6) for n times: taking the vectors
# apart with `unnest` took twenty times as long, and nearly all of the search. From 15 times on it counts as 15.
RANKS = [0.1 * sum(1 / at**2 for at in range(1, times + 1)) / 1.64493406685 for times in range(1, 16)]
BOUNDS = ", ".join(f"{(low + high) / 2:.7f}" for low, high in itertools.pairwise(RANKS))
CANDIDATES = f"""
CREATE FUNCTION wording_candidates(
    spoken varchar, asked tsquery, lexemes text[], rows_max integer, also uuid[]
)   RETURNS TABLE (passage_id uuid, lexeme text, times integer)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ WITH proposed AS MATERIALIZED (
              SELECT p.id, p.words FROM passages p
              WHERE p.community_id = nullif(current_setting('app.community_id', true), '')::uuid
                AND p.language = spoken AND p.words @@ asked
              ORDER BY ts_rank(p.words, asked) DESC LIMIT rows_max),
          -- `setweight` changes nothing here but brings each vector into memory once, not once for each token.
          best AS MATERIALIZED (
              SELECT id, setweight(words, 'D') AS words FROM proposed
              UNION ALL SELECT p.id, setweight(p.words, 'D') FROM passages p
              WHERE p.community_id = nullif(current_setting('app.community_id', true), '')::uuid
                AND p.id = ANY(also) AND p.language = spoken AND p.id NOT IN (SELECT id FROM proposed)),
          term AS MATERIALIZED (
              SELECT word, ('''' || replace(replace(word, '\\', '\\\\'), '''', '''''') || '''')::tsquery AS query
              FROM unnest(lexemes) word)
          SELECT best.id, term.word,
                 1 + width_bucket(ts_rank(best.words, term.query)::float8, ARRAY[{BOUNDS}]::float8[])
          FROM best, term WHERE best.words @@ term.query $$"""
# A page is "of this community, after this id": without these, all rows of the community are sorted for each page.
PAGED = ("residents", "conversations", "documents")
NEW_CANDIDATES = "wording_candidates(varchar, tsquery, text[], integer, uuid[])"


def upgrade() -> None:
    # The function of before stays: workers of the version before call it until they are replaced.
    op.execute(FREQUENCIES)
    op.execute(CANDIDATES)
    op.execute(f"REVOKE ALL ON FUNCTION {NEW_CANDIDATES} FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION {NEW_CANDIDATES} TO linli_app")
    for table in PAGED:
        op.execute(f"CREATE INDEX ix_{table}_community_id_id ON {table} (community_id, id)")
    op.execute("DROP INDEX ix_residents_community_id")


def downgrade() -> None:
    op.execute("CREATE INDEX ix_residents_community_id ON residents (community_id)")
    for table in PAGED:
        op.execute(f"DROP INDEX ix_{table}_community_id_id")
    op.execute(f"DROP FUNCTION {NEW_CANDIDATES}")
