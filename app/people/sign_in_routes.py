"""Sign-in over REST: password, refresh, another community, the OpenID Connect door, and who I am."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.people import accounts, communities, oidc, residents, sign_in
from app.people.callers import Caller, CallerDep, CallerKind, SessionDep, require
from app.people.doors import DoorRoute
from app.people.schemas import (
    CommunityBrief,
    MeOut,
    PasswordIn,
    RefreshIn,
    SignInIn,
    SwitchIn,
    TokensOut,
)
from app.people.sign_in import Tokens
from app.rest.rate_limits import RateLimits, address_of
from app.runtime import Runtime, RuntimeDep

router = APIRouter(tags=["sign-in"], route_class=DoorRoute)

REDIRECT = {302: {"description": "To the identity provider."}}


@router.post("/auth/sign-in")
async def post_sign_in(body: SignInIn, request: Request, response: Response, runtime: RuntimeDep) -> TokensOut:
    """Sign in with a password."""
    await _limit(request, runtime, login=f"{body.community}:{body.login}")
    signed_in = await sign_in.sign_in(
        runtime, slug=body.community, login=body.login, password=body.password.get_secret_value()
    )
    return await _tokens(runtime, response, signed_in)


@router.post("/auth/refresh")
async def post_refresh(body: RefreshIn, response: Response, runtime: RuntimeDep) -> TokensOut:
    """New tokens for a refresh token. The old one is used up: sent again, it ends the whole family."""
    return await _tokens(runtime, response, await sign_in.rotate(runtime, body.refresh_token.get_secret_value()))


@router.post("/auth/switch")
async def post_switch(body: SwitchIn, response: Response, runtime: RuntimeDep) -> TokensOut:
    """As refresh, into another community where the account has rights or lives."""
    secret = body.refresh_token.get_secret_value()
    return await _tokens(runtime, response, await sign_in.rotate(runtime, secret, slug=body.community))


@router.post("/auth/sign-out", status_code=204)
async def post_sign_out(body: RefreshIn, runtime: RuntimeDep) -> None:
    """End this sign-in. Access tokens that are out still live for their few minutes."""
    await sign_in.sign_out(runtime, body.refresh_token.get_secret_value())


@router.post("/auth/password")
async def post_password(
    body: PasswordIn, request: Request, response: Response, caller: CallerDep, runtime: RuntimeDep
) -> TokensOut:
    """Change one's own password; every other sign-in of the account ends."""
    await _limit(request, runtime, login=caller.key)
    current, new = body.current.get_secret_value(), body.new.get_secret_value()
    return await _tokens(runtime, response, await sign_in.change_password(runtime, caller, current=current, new=new))


@router.get("/auth/oidc/start", status_code=302, responses=REDIRECT, response_class=Response)  # type: ignore[arg-type]
async def get_oidc_start(
    request: Request, runtime: RuntimeDep, community: Annotated[str, Query(min_length=1, max_length=63)]
) -> Response:
    """Go to the identity provider. 404 where none is set."""
    return await oidc.start(runtime, request, slug=community)


@router.get("/auth/oidc/callback")
async def get_oidc_callback(request: Request, response: Response, runtime: RuntimeDep) -> TokensOut:
    """The identity provider sends the browser here."""
    await _limit(request, runtime, login=None)
    signed_in = await oidc.finish(runtime, request)
    response.delete_cookie(oidc.COOKIE, path=oidc.COOKIE_PATH)
    return await _tokens(runtime, response, signed_in)


@router.get("/me")
async def get_me(caller: Annotated[Caller, Depends(require("me:read"))], session: SessionDep) -> MeOut:
    """Who I am, what I may do, where I live."""
    return await _me(session, caller)


async def _limit(request: Request, runtime: Runtime, *, login: str | None) -> None:
    limits: RateLimits = request.app.state.rate_limits
    await sign_in.limit_attempts(limits, runtime, login=login, address=address_of(request))


async def _tokens(runtime: Runtime, response: Response, signed_in: Tokens) -> TokensOut:
    # RFC 6749, 5.1: nothing on the way may keep tokens.
    response.headers["Cache-Control"] = "no-store"
    async with runtime.transaction(signed_in.caller.tenant) as session:
        me = await _me(session, signed_in.caller)
    return TokensOut(
        access_token=signed_in.access,
        refresh_token=signed_in.refresh,
        expires_in=runtime.settings.access_token_minutes * 60,
        me=me,
    )


async def _me(session: AsyncSession, caller: Caller) -> MeOut:
    community = CommunityBrief.model_validate(await communities.get(session, caller))
    places = [community]
    if caller.account_id is not None:
        places = [
            CommunityBrief(id=place.id, slug=place.slug, name=place.name, name_en=place.name_en)
            for place in await accounts.places_of(session, caller.account_id)
        ]
    rooms = await residents.rooms_of(session, [caller.id]) if caller.kind is CallerKind.RESIDENT else {}
    return MeOut(
        kind=caller.kind,
        id=caller.id,
        name=caller.name,
        language=caller.language,
        roles=sorted(caller.roles),
        scopes=sorted(caller.scopes),
        verified=caller.verified,
        community=community,
        communities=places,
        rooms=rooms.get(caller.id, []),
    )
