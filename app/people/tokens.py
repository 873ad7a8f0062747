"""Access tokens: short, signed, naming account and tenant only; rights are read afresh with every request."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from app.db import Tenant
from app.settings import Settings

ISSUER = "linli"
AUDIENCE = "linli-api"
ALGORITHM = "HS256"
TOKEN_CHARS_MAX = 2_000
"""Ours have about 400; a longer one is not worth the work of checking it."""
CLOCK_SECONDS = 60
"""How far the clocks of two web processes may be apart."""


def _key(settings: Settings) -> OctKey:
    assert settings.secret_key is not None, "LINLI_SECRET_KEY is not set"
    return OctKey.import_key(settings.secret_key.get_secret_value())


def make_access(settings: Settings, account_id: UUID, tenant: Tenant, *, now: datetime) -> str:
    """A signed access token for `access_token_minutes`."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(account_id),
        "org": str(tenant.organisation_id),
        "com": str(tenant.community_id),
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(minutes=settings.access_token_minutes)).timestamp()),
    }
    return jwt.encode({"alg": ALGORITHM}, claims, _key(settings), algorithms=[ALGORITHM])


def read_access(settings: Settings, token: str, *, now: datetime) -> dict[str, Any] | None:
    """The claims of a valid token, else None. Only our own algorithm, issuer and audience count, in their time."""
    if len(token) > TOKEN_CHARS_MAX:
        return None
    try:
        claims = jwt.decode(token, _key(settings), algorithms=[ALGORITHM]).claims
        UUID(claims["sub"]), UUID(claims["org"]), UUID(claims["com"])
        begins = max(claims["iat"], claims.get("nbf", 0))
        in_time = begins <= now.timestamp() + CLOCK_SECONDS and claims["exp"] > now.timestamp()
        valid = in_time and claims["iss"] == ISSUER and claims["aud"] == AUDIENCE
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return claims if valid else None
