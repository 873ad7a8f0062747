"""Links by which somebody who is not signed in answers one ringing: signed, for one person, one order and one day."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OctKey

from app.db import Tenant
from app.errors import NotFound
from app.runtime import Runtime

AUDIENCE = "linli-ring"
ALGORITHM = "HS256"
HOURS = 24
TOKEN_CHARS_MAX = 1_000


class RingLinkInvalid(NotFound):
    code = "ring_link_invalid"

    def __init__(self) -> None:
        super().__init__("This link is wrong or has expired.", "链接无效或已过期。")


@dataclass(frozen=True)
class RingLink:
    tenant: Tenant
    order_id: UUID
    staff_id: UUID


def _key(runtime: Runtime) -> OctKey:
    assert runtime.settings.secret_key is not None, "LINLI_SECRET_KEY is not set"
    return OctKey.import_key(runtime.settings.secret_key.get_secret_value())


def link(runtime: Runtime, tenant: Tenant, *, order_id: UUID, staff_id: UUID) -> str:
    """The address of the page with the three answers."""
    config = runtime.settings
    base = (config.public_url or f"http://{config.web_host}:{config.web_port}").rstrip("/")
    return f"{base}/api/v1/ring?t={token(runtime, tenant, order_id=order_id, staff_id=staff_id)}"


def token(runtime: Runtime, tenant: Tenant, *, order_id: UUID, staff_id: UUID) -> str:
    claims = {
        "aud": AUDIENCE, "org": str(tenant.organisation_id), "com": str(tenant.community_id), "order": str(order_id),
        "staff": str(staff_id), "exp": int((runtime.clock() + timedelta(hours=HOURS)).timestamp()),
    }  # fmt: skip
    return jwt.encode({"alg": ALGORITHM}, claims, _key(runtime), algorithms=[ALGORITHM])


def read(runtime: Runtime, token: str) -> RingLink:
    """What a link stands for. Raises RingLinkInvalid."""
    if len(token) > TOKEN_CHARS_MAX:
        raise RingLinkInvalid
    try:
        claims = jwt.decode(token, _key(runtime), algorithms=[ALGORITHM]).claims
        if claims["aud"] != AUDIENCE or claims["exp"] <= runtime.clock().timestamp():
            raise RingLinkInvalid
        tenant = Tenant(UUID(claims["org"]), UUID(claims["com"]))
        return RingLink(tenant, UUID(claims["order"]), UUID(claims["staff"]))
    except (JoseError, ValueError, KeyError, TypeError, AttributeError):
        raise RingLinkInvalid from None
