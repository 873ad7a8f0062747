"""The OpenID Connect door: closed unless an issuer is set. It opens accounts that were linked, and makes none.

Authorization code with PKCE and a nonce. What the callback must know travels in a signed cookie of the browser that
started, so a callback that another browser was lured to is refused.
"""

from typing import Any

import httpx2
import structlog
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.starlette_client import OAuth
from fastapi import Request, Response
from itsdangerous import BadData, URLSafeTimedSerializer
from joserfc.errors import JoseError

from app.errors import NotFound, Unauthorised, Unavailable
from app.people import accounts, sign_in
from app.people.callers import CommunityNotFound
from app.people.sign_in import Tokens
from app.people.tables import Account
from app.runtime import Runtime
from app.settings import Settings

log = structlog.get_logger(__name__)

COOKIE = "linli_oidc"
COOKIE_PATH = "/api/v1/auth/oidc"
COOKIE_SECONDS = 600
SIGNATURES = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "Ed25519")
"""Public-key signatures only, whatever the issuer says it can do."""


class DoorClosed(NotFound):
    code = "oidc_closed"

    def __init__(self) -> None:
        super().__init__("Sign-in by OpenID Connect is not set up here.", "此处未启用 OpenID Connect 登录。")


class OidcRefused(Unauthorised):
    code = "oidc_refused"

    def __init__(self) -> None:
        super().__init__("The sign-in was not confirmed. Start again.", "登录未被确认，请重新开始。")


class NotLinked(Unauthorised):
    code = "oidc_not_linked"

    def __init__(self) -> None:
        super().__init__(
            "No account is linked to this identity. Ask the property office.", "该身份未关联账号，请联系物业服务中心。"
        )


class IssuerUnavailable(Unavailable):
    code = "oidc_issuer_unavailable"

    def __init__(self) -> None:
        super().__init__("The identity provider does not answer.", "身份服务暂时没有响应。", retry_after_seconds=5)


def open_door(settings: Settings) -> Any:
    """The client of the issuer (an authlib app). Raises DoorClosed."""
    if not settings.oidc_issuer_url:
        raise DoorClosed
    secret = settings.oidc_client_secret
    registry: Any = OAuth()  # type: ignore[no-untyped-call]
    return registry.register(
        "linli",
        client_id=settings.oidc_client_id,
        client_secret=secret.get_secret_value() if secret else None,
        server_metadata_url=settings.oidc_issuer_url.rstrip("/") + "/.well-known/openid-configuration",
        client_kwargs={"scope": "openid profile email", "code_challenge_method": "S256", "timeout": 5},
    )


async def _load_issuer(door: Any, settings: Settings) -> str:
    """The issuer's own name, which must be the one that was set. Raises IssuerUnavailable."""
    try:
        metadata: dict[str, Any] = await door.load_server_metadata()
    except (httpx2.HTTPError, ValueError) as error:
        log.warning("oidc_issuer_unavailable", error=repr(error))
        raise IssuerUnavailable from None
    issuer = str(metadata.get("issuer", ""))
    if issuer.rstrip("/") != settings.oidc_issuer_url.rstrip("/"):
        log.error("oidc_issuer_mismatch", issuer=issuer)
        raise IssuerUnavailable
    offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
    metadata["id_token_signing_alg_values_supported"] = [name for name in offered if name in SIGNATURES] or ["RS256"]
    return issuer


async def start(runtime: Runtime, request: Request, *, slug: str) -> Response:
    """A redirect to the issuer. Raises: DoorClosed, CommunityNotFound, IssuerUnavailable."""
    door = open_door(runtime.settings)
    if await sign_in.find_tenant(runtime, slug) is None:
        raise CommunityNotFound
    await _load_issuer(door, runtime.settings)
    # authlib keeps its state in the request's session; this one lives only for the sign-in, in a cookie of ours.
    session: dict[str, Any] = {"community": slug}
    request.scope["session"] = session
    response: Response = await door.authorize_redirect(request, callback_url(runtime.settings, request))
    response.set_cookie(
        COOKIE, _signer(runtime.settings).dumps(session), max_age=COOKIE_SECONDS, path=COOKIE_PATH, httponly=True,
        secure=request.url.scheme == "https" or runtime.settings.public_url.startswith("https:"), samesite="lax",
    )  # fmt: skip
    return response


def callback_url(settings: Settings, request: Request) -> str:
    base = settings.public_url or str(request.base_url)
    return f"{base.rstrip('/')}{COOKIE_PATH}/callback"


async def finish(runtime: Runtime, request: Request) -> Tokens:
    """Tokens for the account behind the issuer's word. Raises: DoorClosed, OidcRefused, NotLinked, SignInRefused."""
    door = open_door(runtime.settings)
    session = _read_cookie(runtime.settings, request)
    request.scope["session"] = session
    issuer = await _load_issuer(door, runtime.settings)
    # Times in an id token are checked against the system's clock by the library.
    demands = {"iss": {"essential": True, "value": issuer}, "aud": {"essential": True, "value": door.client_id}}
    try:
        token = await door.authorize_access_token(request, claims_options=demands)
    except (AuthlibBaseError, JoseError, ValueError, KeyError, TypeError) as error:
        log.warning("oidc_refused", error=repr(error))
        raise OidcRefused from None
    except (httpx2.HTTPError, RuntimeError) as error:
        log.warning("oidc_issuer_unavailable", error=repr(error))
        raise IssuerUnavailable from None
    claims = token.get("userinfo")
    if not claims or not claims.get("sub"):
        raise OidcRefused
    return await _sign_in_subject(runtime, session["community"], claims)


async def _sign_in_subject(runtime: Runtime, slug: str, claims: dict[str, Any]) -> Tokens:
    tenant = await sign_in.find_tenant(runtime, slug)
    if tenant is None or tenant.organisation_id is None:
        raise OidcRefused
    subject, email = str(claims["sub"]), str(claims.get("email") or "")
    async with runtime.transaction(tenant) as session:
        account = await accounts.find_by_subject(session, tenant.organisation_id, subject)
        if account is None and email and _may_link(runtime.settings, claims):
            account = await accounts.find_by_login(session, tenant.organisation_id, email)
        locked: Account | None = await accounts.lock(session, account.id) if account else None
        if locked is None or locked.oidc_subject not in (None, subject):
            raise NotLinked
        locked.oidc_subject = subject
        action = "people.sign_in.get_oidc_callback"
        return await sign_in.open_family(session, runtime, tenant, locked, action=action)


def _may_link(settings: Settings, claims: dict[str, Any]) -> bool:
    return settings.oidc_link_by_email and claims.get("email_verified") is True


def _read_cookie(settings: Settings, request: Request) -> dict[str, Any]:
    try:
        session: dict[str, Any] = _signer(settings).loads(request.cookies.get(COOKIE, ""), max_age=COOKIE_SECONDS)
    except BadData:
        raise OidcRefused from None
    return session


def _signer(settings: Settings) -> URLSafeTimedSerializer:
    assert settings.secret_key is not None, "LINLI_SECRET_KEY is not set"
    return URLSafeTimedSerializer(settings.secret_key.get_secret_value(), salt="linli-oidc")
