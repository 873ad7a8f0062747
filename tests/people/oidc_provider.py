"""A small OpenID Connect provider that really speaks HTTP: discovery, authorize, token with PKCE, keys."""

import asyncio
import base64
import hashlib
import secrets
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import uvicorn
from fastapi import FastAPI, Form, HTTPException, Request
from fastapi.responses import RedirectResponse
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "linli", "client secret of the tests"


@dataclass
class Provider:
    """Whoever asks is signed in as `person`; `twist` changes the claims of the next id tokens."""

    url: str
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "subject-1"})
    twist: dict[str, Any] = field(default_factory=dict)
    foreign_key: bool = False
    symmetric: bool = False
    metadata_twist: dict[str, Any] = field(default_factory=dict)
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, parameters={"kid": "k1"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce, **self.person, **self.twist
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.symmetric:
            secret = OctKey.import_key(CLIENT_SECRET * 2)
            return jwt.encode({"alg": "HS256", "kid": "k1"}, claims, secret, algorithms=["HS256"])
        key = RSAKey.generate_key(2048, parameters={"kid": "k1"}) if self.foreign_key else self.key
        return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, key)


def build(provider: Provider) -> FastAPI:
    app = FastAPI()

    @app.get("/.well-known/openid-configuration")
    async def discovery() -> dict[str, Any]:
        return {
            "issuer": provider.url,
            "authorization_endpoint": f"{provider.url}/authorize",
            "token_endpoint": f"{provider.url}/token",
            "jwks_uri": f"{provider.url}/keys",
            "id_token_signing_alg_values_supported": ["RS256"],
            **provider.metadata_twist,
        }

    @app.get("/keys")
    async def keys() -> dict[str, Any]:
        return {"keys": [provider.key.as_dict(private=False)]}

    @app.get("/authorize")
    async def authorize(request: Request) -> RedirectResponse:
        asked = dict(request.query_params)
        if asked["client_id"] != CLIENT_ID or asked["code_challenge_method"] != "S256":
            raise HTTPException(400)
        code = secrets.token_urlsafe(16)
        provider.codes[code] = asked
        return RedirectResponse(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}", 302)

    @app.post("/token")
    async def token(
        request: Request, code: str = Form(), code_verifier: str = Form(), redirect_uri: str = Form()
    ) -> dict[str, Any]:
        basic = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        asked = provider.codes.pop(code, None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(code_verifier.encode()).digest()).decode().rstrip("=")
        good = asked is not None and asked["code_challenge"] == challenge and asked["redirect_uri"] == redirect_uri
        if not good or request.headers.get("authorization") != f"Basic {basic}":
            raise HTTPException(400, {"error": "invalid_grant"})
        assert asked is not None
        return {
            "access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "expires_in": 300,
            "id_token": provider.id_token(asked["nonce"]),
        }  # fmt: skip

    return app


@asynccontextmanager
async def serve() -> AsyncIterator[Provider]:
    listener = socket.create_server(("127.0.0.1", 0))
    provider = Provider(f"http://127.0.0.1:{listener.getsockname()[1]}")
    config = uvicorn.Config(build(provider), log_level="warning", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:  # noqa: ASYNC110 (uvicorn tells in no other way)
        await asyncio.sleep(0.01)
    yield provider
    server.should_exit = True
    await serving
