"""What real processes write while people sign in, upload and chat: no secret, no word of theirs, anywhere."""

import asyncio
import os
import re
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from sqlalchemy import update

from app.people.accounts import HASHER
from app.people.tables import Account
from app.runtime import Runtime
from app.settings import Settings
from tests.make import Make, Person
from tests.people import oidc_provider
from tests.people.oidc_provider import CLIENT_ID, CLIENT_SECRET
from tests.scripted_server import serving

ROOT = Path(__file__).parents[2]
PHONE = "13800138642"
WORDS = "我家的门禁密码忘了怎么办QZX"
"""A question is its resident's own: logs and traces tell that there was one, not what it said."""


@contextmanager
def collector() -> Iterator[tuple[str, list[bytes]]]:
    """A collector of traces: its address, and all it was sent."""
    received: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1/traces", received
    server.shutdown()
    server.server_close()


@contextmanager
def process(command: str, environment: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`linli web` or `linli worker` as people run them; what it writes goes to `log`."""
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "app.cli", command], env=environment, cwd=log.parent, stdout=output, stderr=output
        )
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(20)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@dataclass
class Story:
    """What happens, and every secret that it involves."""

    web: httpx.AsyncClient
    hidden: dict[str, str] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)

    async def ask(self, method: str, path: str, *, token: str = "", status: int, **more: Any) -> httpx.Response:
        headers = {"If-Match": "*"} | ({"Authorization": f"Bearer {token}"} if token else {})
        answer = await self.web.request(method, path, headers=headers, **more)
        assert answer.status_code == status, (path, answer.status_code, answer.text)
        if status >= 400:
            self.answers.append(answer.text)
        return answer

    async def sign_in(self, person: Person, password: str) -> str:
        body = {"community": person.place.slug, "login": person.login, "password": password}
        await self.ask("POST", "/api/v1/auth/sign-in", json={**body, "password": "wrong-" + password}, status=401)
        tokens = (await self.ask("POST", "/api/v1/auth/sign-in", json=body, status=200)).json()
        again = {"refresh_token": tokens["refresh_token"]}
        newer = (await self.ask("POST", "/api/v1/auth/refresh", json=again, status=200)).json()
        await self.ask("POST", "/api/v1/auth/refresh", json=again, status=401)
        self.hidden |= {
            "password": password, "access token": tokens["access_token"].split(".")[2],
            "refresh token": tokens["refresh_token"].split("_", 2)[2], "second refresh": newer["refresh_token"].split("_", 2)[2],
        }  # fmt: skip
        return str(tokens["access_token"])

    async def manage(self, token: str, place: str, resident: Person) -> None:
        made = await self.ask(
            "POST", f"{place}/api-keys", token=token, json={"name": "door", "scopes": ["me:read"]}, status=201
        )
        key = made.json()["secret"]
        self.hidden |= {"key": key.split("_", 2)[2], "new password": secrets.token_urlsafe(12)}
        await self.ask("GET", "/api/v1/me", token=key, status=200)
        await self.ask("GET", "/api/v1/me", token=key + "x", status=401)
        await self.ask("GET", f"{place}/staff", token=key, status=403)
        account = {"password": self.hidden["new password"]}
        await self.ask("PUT", f"{place}/residents/{resident.id}/account", token=token, json=account, status=200)
        phone = {"phone": PHONE}
        await self.ask("PATCH", f"{place}/residents/{resident.id}", token=token, json=phone, status=200)
        await self.ask("PATCH", f"{place}/residents/{resident.id}", token=token, json={"phone": PHONE * 9}, status=422)
        named = {"filter[name]": f"{PHONE}\x00"}
        await self.ask("GET", f"{place}/residents", token=token, params=named, status=422)
        upload = {"file": ("rules.md", f"# 规定\n\n门禁密码忘了请到前台重置。{PHONE}".encode())}
        await self.ask("POST", f"{place}/documents", token=token, files=upload, status=201)
        broken = {"file": ("rules.pdf", b"%PDF-1.7 " + PHONE.encode())}
        await self.ask("POST", f"{place}/documents", token=token, files=broken, status=422)

    async def hook(self, token: str, place: str) -> None:
        """A webhook whose URL is itself a secret, as many services have them: tried, refused, and its secret replaced."""
        self.hidden["hook path"] = secrets.token_urlsafe(16)
        body = {
            "name": "ERP",
            "url": f"https://hooks.invalid/{self.hidden['hook path']}",
            "events": ["workorder.created"],
        }
        made = (await self.ask("POST", f"{place}/webhooks", token=token, json=body, status=201)).json()
        hook = f"{place}/webhooks/{made['id']}"
        test = (await self.ask("POST", f"{hook}/test", token=token, status=202)).json()
        for _ in range(300):
            tried = (await self.ask("GET", f"{hook}/deliveries/{test['id']}", token=token, status=200)).json()["tries"]
            if tried:
                break
            await asyncio.sleep(0.1)
        assert [one["error"] for one in tried] == ["lookup"]
        newer = (await self.ask("POST", f"{hook}/rotate-secret", token=token, status=200)).json()
        inside = {**body, "url": f"http://10.0.0.1/{self.hidden['hook path']}"}
        await self.ask("POST", f"{place}/webhooks", token=token, json=inside, status=422)
        await self.ask("PATCH", hook, token=token, json={"url": f"ftp://x/{self.hidden['hook path']}"}, status=422)
        self.hidden |= {"hook secret": made["secret"][6:], "second hook secret": newer["secret"][6:]}

    async def chat(self, token: str) -> None:
        turn = await self.ask("POST", "/api/v1/me/turns", token=token, json={"text": WORDS}, status=202)
        await self.ask("GET", turn.json()["events_url"], token=token, status=200)

    async def visit(self, slug: str) -> None:
        """The OpenID Connect door: once as it should be, once with a code that is worth nothing."""
        for code in ("", "wrong-code-of-nobody"):
            start = await self.ask("GET", "/api/v1/auth/oidc/start", params={"community": slug}, status=302)
            async with httpx.AsyncClient() as browser:
                sent = await browser.get(start.headers["location"])
            callback = httpx.URL(sent.headers["location"])
            self.hidden["code" + code] = parse_qs(callback.query.decode())["code"][0]
            if code:
                callback, self.hidden["false code"] = callback.copy_set_param("code", code), code
            await self.ask("GET", str(callback), status=401 if code else 200)


def _read(log: Path) -> str:
    return log.read_text()


async def _until_ready(web: httpx.AsyncClient, child: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert child.poll() is None, _read(log)
        try:
            if (await web.get("/readyz")).status_code == 200:
                return
        except httpx.TransportError:
            pass
        await asyncio.sleep(0.2)
    raise AssertionError(_read(log))


@pytest.fixture
async def people(make: Make, runtime: Runtime) -> tuple[Person, Person, str]:
    """A manager with a password and an OIDC identity, a resident, and the password."""
    password = secrets.token_urlsafe(12)
    manager, resident = await make.staff(password_hash=HASHER.hash(password)), await make.resident()
    async with runtime.transaction(manager.tenant) as session:
        await session.execute(update(Account).where(Account.id == manager.account_id).values(oidc_subject="subject-1"))
    return manager, resident, password


async def test_no_secret_leaves_a_running_system(
    settings: Settings, people: tuple[Person, Person, str], tmp_path: Path
):
    manager, resident, password = people
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    engine_key, secret_key = secrets.token_urlsafe(24), secrets.token_urlsafe(32)
    logs = {name: tmp_path / f"{name}.log" for name in ("web", "worker")}
    with collector() as (traces_url, traces), serving() as engine:
        async with oidc_provider.serve() as provider:
            environment = {
                "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": os.environ.get("HOME", "/root"),
                "LINLI_DATA_DIR": str(tmp_path), "LINLI_WEB_PORT": str(port), "LINLI_LOG_LEVEL": "DEBUG",
                "LINLI_DATABASE_URL": settings.database_url, "LINLI_REDIS_URL": settings.redis_url,
                "LINLI_SECRET_KEY": secret_key, "LINLI_ENGINE_URL": engine.url, "LINLI_ENGINE_API_KEY": engine_key,
                "LINLI_TELEMETRY_URL": traces_url, "LINLI_OIDC_ISSUER_URL": provider.url,
                # All traces wait until the process ends, so that none is sent only if it lived long enough.
                "OTEL_BSP_SCHEDULE_DELAY": "600000",
                "LINLI_OIDC_CLIENT_ID": CLIENT_ID, "LINLI_OIDC_CLIENT_SECRET": CLIENT_SECRET,
            }  # fmt: skip
            with process("web", environment, logs["web"]) as web, process("worker", environment, logs["worker"]):
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
                    story = Story(http)
                    await _until_ready(http, web, logs["web"])
                    token = await story.sign_in(manager, password)
                    await story.manage(token, f"/api/v1/communities/{manager.place.id}", resident)
                    await story.hook(token, f"/api/v1/communities/{manager.place.id}")
                    await story.chat(token)
                    await story.visit(manager.place.slug)
                    pages = [(await http.get(path)).text for path in ("/metrics", "/openapi.json", "/readyz", "/docs")]
    hidden = story.hidden | {
        "secret key": secret_key, "engine key": engine_key, "client secret": CLIENT_SECRET, "phone": PHONE,
        "database password": urlsplit(settings.database_url).password or "",
        "redis password": urlsplit(settings.redis_url).password or "", "question": "门禁密码",
    }  # fmt: skip
    places = {
        "errors": "\n".join(story.answers), "pages": "\n".join(pages),
        "traces": b"\n".join(traces).decode("utf-8", "replace"), **{name: _read(log) for name, log in logs.items()},
    }  # fmt: skip
    check(places, hidden)
    assert "GET /api/v1/auth/oidc/callback" in places["traces"], "the callback was traced"
    assert "code=" not in places["traces"]
    assert '"request"' in places["web"]
    assert "webhook_failed" in places["worker"]
    assert len(hidden) > 17


def check(places: dict[str, str], hidden: dict[str, str]) -> None:
    """No place holds a hidden word, plain or as JSON or a URL would write it."""
    found = []
    for place, text in places.items():
        for name, word in hidden.items():
            assert len(word) > 3, f"{name} is too short to be looked for"
            forms = {word, word.encode("unicode_escape").decode(), str(httpx.QueryParams({"q": word}))[2:]}
            found += [f"{name} in {place}: {_around(text, form)}" for form in forms if form in text]
    assert found == []


def _around(text: str, word: str) -> str:
    place = re.search(f".{{0,200}}{re.escape(word)}", text)
    return place.group() if place else ""
