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
    """The claims of a valid token, else None. Only our own algorithm, issuer and audience count."""
    try:
        claims = jwt.decode(token, _key(settings), algorithms=[ALGORITHM]).claims
        UUID(claims["sub"]), UUID(claims["org"]), UUID(claims["com"])
        valid = claims["iss"] == ISSUER and claims["aud"] == AUDIENCE and claims["exp"] > now.timestamp()
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return claims if valid else None
