"""Property companies, communities, spaces, residents, staff, keys, sign-in, idempotency; each behind its fence."""

from alembic import op

from app.db import fence_sql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = """
CREATE TABLE organisations (
    id uuid CONSTRAINT pk_organisations PRIMARY KEY,
    name varchar NOT NULL,
    defaults jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE communities (
    id uuid CONSTRAINT pk_communities PRIMARY KEY,
    organisation_id uuid NOT NULL CONSTRAINT fk_communities_organisation_id REFERENCES organisations,
    slug varchar(63) NOT NULL CONSTRAINT uq_communities_slug UNIQUE,
    name varchar NOT NULL,
    name_en varchar NOT NULL,
    timezone varchar NOT NULL,
    overrides jsonb NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_communities_organisation_id ON communities (organisation_id);
CREATE TABLE spaces (
    id uuid CONSTRAINT pk_spaces PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_spaces_community_id REFERENCES communities ON DELETE CASCADE,
    parent_id uuid CONSTRAINT fk_spaces_parent_id REFERENCES spaces ON DELETE CASCADE,
    building_id uuid,
    kind varchar(40) NOT NULL,
    name varchar NOT NULL,
    label varchar NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_spaces_community_id_parent_id_name UNIQUE NULLS NOT DISTINCT (community_id, parent_id, name)
);
CREATE INDEX ix_spaces_parent_id ON spaces (parent_id);
CREATE TABLE households (
    id uuid CONSTRAINT pk_households PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_households_community_id REFERENCES communities ON DELETE CASCADE,
    room_id uuid NOT NULL CONSTRAINT fk_households_room_id REFERENCES spaces ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_households_community_id ON households (community_id);
CREATE INDEX ix_households_room_id ON households (room_id);
CREATE TABLE accounts (
    id uuid CONSTRAINT pk_accounts PRIMARY KEY,
    organisation_id uuid NOT NULL CONSTRAINT fk_accounts_organisation_id REFERENCES organisations ON DELETE CASCADE,
    login varchar NOT NULL,
    name varchar NOT NULL,
    password_hash varchar,
    oidc_subject varchar,
    disabled_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_accounts_organisation_id_login UNIQUE (organisation_id, login),
    CONSTRAINT uq_accounts_organisation_id_oidc_subject UNIQUE (organisation_id, oidc_subject)
);
CREATE TABLE residents (
    id uuid CONSTRAINT pk_residents PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_residents_community_id REFERENCES communities ON DELETE CASCADE,
    account_id uuid CONSTRAINT fk_residents_account_id REFERENCES accounts ON DELETE SET NULL,
    name varchar NOT NULL,
    phone varchar NOT NULL,
    language varchar NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_residents_community_id ON residents (community_id);
CREATE INDEX ix_residents_account_id ON residents (account_id);
CREATE TABLE residencies (
    id uuid CONSTRAINT pk_residencies PRIMARY KEY,
    community_id uuid NOT NULL CONSTRAINT fk_residencies_community_id REFERENCES communities ON DELETE CASCADE,
    resident_id uuid NOT NULL CONSTRAINT fk_residencies_resident_id REFERENCES residents ON DELETE CASCADE,
    household_id uuid NOT NULL CONSTRAINT fk_residencies_household_id REFERENCES households ON DELETE CASCADE,
    building_id uuid,
    role varchar(40) NOT NULL,
    verified_at timestamptz,
    CONSTRAINT uq_residencies_resident_id_household_id UNIQUE (resident_id, household_id)
);
CREATE INDEX ix_residencies_community_id ON residencies (community_id);
CREATE INDEX ix_residencies_household_id ON residencies (household_id);
CREATE TABLE staff (
    id uuid CONSTRAINT pk_staff PRIMARY KEY,
    organisation_id uuid NOT NULL CONSTRAINT fk_staff_organisation_id REFERENCES organisations ON DELETE CASCADE,
    account_id uuid NOT NULL CONSTRAINT uq_staff_account_id UNIQUE
        CONSTRAINT fk_staff_account_id REFERENCES accounts ON DELETE CASCADE,
    name varchar NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_staff_organisation_id ON staff (organisation_id);
CREATE TABLE staff_rights (
    id uuid CONSTRAINT pk_staff_rights PRIMARY KEY,
    organisation_id uuid NOT NULL CONSTRAINT fk_staff_rights_organisation_id REFERENCES organisations ON DELETE CASCADE,
    staff_id uuid NOT NULL CONSTRAINT fk_staff_rights_staff_id REFERENCES staff ON DELETE CASCADE,
    community_id uuid NOT NULL CONSTRAINT fk_staff_rights_community_id REFERENCES communities ON DELETE CASCADE,
    role varchar(40) NOT NULL,
    CONSTRAINT uq_staff_rights_staff_id_community_id_role UNIQUE (staff_id, community_id, role)
);
CREATE INDEX ix_staff_rights_organisation_id ON staff_rights (organisation_id);
CREATE INDEX ix_staff_rights_community_id ON staff_rights (community_id);
CREATE TABLE api_keys (
    id uuid CONSTRAINT pk_api_keys PRIMARY KEY,
    organisation_id uuid NOT NULL CONSTRAINT fk_api_keys_organisation_id REFERENCES organisations ON DELETE CASCADE,
    community_id uuid NOT NULL CONSTRAINT fk_api_keys_community_id REFERENCES communities ON DELETE CASCADE,
    name varchar NOT NULL,
    secret_hash varchar NOT NULL,
    scopes varchar[] NOT NULL,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX ix_api_keys_community_id ON api_keys (community_id);
CREATE TABLE refresh_tokens (
    id uuid CONSTRAINT pk_refresh_tokens PRIMARY KEY,
    organisation_id uuid NOT NULL CONSTRAINT fk_refresh_tokens_organisation_id REFERENCES organisations ON DELETE CASCADE,
    community_id uuid NOT NULL CONSTRAINT fk_refresh_tokens_community_id REFERENCES communities ON DELETE CASCADE,
    account_id uuid NOT NULL CONSTRAINT fk_refresh_tokens_account_id REFERENCES accounts ON DELETE CASCADE,
    family_id uuid NOT NULL,
    secret_hash varchar NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ix_refresh_tokens_account_id ON refresh_tokens (account_id);
CREATE INDEX ix_refresh_tokens_family_id ON refresh_tokens (family_id);
CREATE TABLE idempotency_keys (
    id uuid CONSTRAINT pk_idempotency_keys PRIMARY KEY,
    community_id uuid NOT NULL,
    caller_key varchar NOT NULL,
    route varchar NOT NULL,
    key varchar NOT NULL,
    request_sha256 varchar NOT NULL,
    status integer,
    body text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT uq_idempotency_keys_community_id_caller_key_route_key UNIQUE (community_id, caller_key, route, key)
);
CREATE INDEX ix_idempotency_keys_created_at ON idempotency_keys (created_at);
"""

OF_COMMUNITY = ("spaces", "households", "residents", "residencies", "idempotency_keys")
OF_ORGANISATION = ("accounts", "communities", "staff", "staff_rights", "api_keys", "refresh_tokens")

# The only ways across tenants: a community's address and a key's own id lead to a tenant and to nothing else, and an
# account of the transaction's company leads to the communities where it has rights or lives.
FUNCTIONS = """
CREATE FUNCTION tenant_of_slug(wanted varchar) RETURNS TABLE (organisation_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT c.organisation_id, c.id FROM communities c WHERE c.slug = wanted $$;
CREATE FUNCTION tenant_of_api_key(wanted uuid) RETURNS TABLE (organisation_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT k.organisation_id, k.community_id FROM api_keys k WHERE k.id = wanted $$;
CREATE FUNCTION tenant_of_refresh_token(wanted uuid) RETURNS TABLE (organisation_id uuid, community_id uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT t.organisation_id, t.community_id FROM refresh_tokens t WHERE t.id = wanted $$;
CREATE FUNCTION communities_of_account(wanted uuid) RETURNS TABLE (id uuid, slug varchar, name varchar, name_en varchar)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT c.id, c.slug, c.name, c.name_en FROM communities c JOIN accounts a ON a.organisation_id = c.organisation_id
          WHERE a.id = wanted AND a.organisation_id = nullif(current_setting('app.organisation_id', true), '')::uuid
          AND (EXISTS (SELECT FROM residents r WHERE r.account_id = a.id AND r.community_id = c.id)
               OR EXISTS (SELECT FROM staff_rights s JOIN staff m ON m.id = s.staff_id
                          WHERE m.account_id = a.id AND s.community_id = c.id))
          ORDER BY c.id $$;
CREATE FUNCTION forget_old_rows(idempotency_before timestamptz, tokens_before timestamptz) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ DELETE FROM idempotency_keys WHERE created_at < idempotency_before;
          DELETE FROM refresh_tokens WHERE expires_at < tokens_before $$;
CREATE FUNCTION organisation_of_community(wanted uuid) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
    AS $$ SELECT c.organisation_id FROM communities c WHERE c.id = wanted $$;
REVOKE ALL ON FUNCTION organisation_of_community, tenant_of_slug, tenant_of_api_key, tenant_of_refresh_token, communities_of_account, forget_old_rows FROM PUBLIC;
GRANT EXECUTE ON FUNCTION organisation_of_community, tenant_of_slug, tenant_of_api_key, tenant_of_refresh_token, communities_of_account, forget_old_rows TO linli_app;
"""


def run_each(script: str) -> None:
    """The driver takes one statement at a time."""
    for statement in script.split(";\n"):
        if statement.strip():
            op.execute(statement)


def upgrade() -> None:
    run_each(TABLES)
    for table in OF_COMMUNITY:
        for statement in fence_sql(table):
            op.execute(statement)
    for table in OF_ORGANISATION:
        for statement in fence_sql(table, column="organisation_id", setting="app.organisation_id"):
            op.execute(statement)
    for statement in fence_sql("organisations", column="id", setting="app.organisation_id"):
        op.execute(statement)
    for function in FUNCTIONS.split("$$;\n")[:-1]:
        op.execute(f"{function}$$")
    for statement in FUNCTIONS.rsplit("$$;\n", maxsplit=1)[-1].split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    op.execute(
        "DROP FUNCTION organisation_of_community, tenant_of_slug, tenant_of_api_key, tenant_of_refresh_token, communities_of_account, forget_old_rows"
    )
    for table in reversed(
        (
            "organisations",
            "communities",
            "spaces",
            "households",
            "accounts",
            "residents",
            "residencies",
            "staff",
            "staff_rights",
            "api_keys",
            "refresh_tokens",
            "idempotency_keys",
        )
    ):
        op.execute(f"DROP TABLE {table}")
