"""The one way out to addresses that people type in: webhooks, and channels that ring somebody.

The name is looked up once, all its addresses are checked (addresses.py), and the connection goes to an address that was
checked, with the name in `Host` and in TLS: a name that points elsewhere a moment later leads nowhere. Redirects are
not followed, proxies of the environment not used, time and the bytes of an answer are bounded.

What is sent is signed, so that a receiver knows who sent it. The header

    Linli-Signature: t=1795312800,v1=5257a869…,v1=…

holds the second of sending and HMAC-SHA256(secret, "<t>.<body>") in hexadecimal, once for each secret that lives: while
a secret is exchanged there are two, and one that fits is enough. A receiver computes the same over the bytes it got,
compares in constant time, and refuses what was signed more than 300 s from its own clock: a recorded request cannot be
played again later. Within these, it drops what it has seen by `Linli-Event-Id`. `check_signature` is that check.
"""

import asyncio
import hmac
import re
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache, partial
from hashlib import sha256

import httpx

from app.errors import Invalid
from app.notices import addresses
from app.notices.addresses import Address
from app.settings import Settings

SIGNATURE = "Linli-Signature"
REPLAY_SECONDS = 300
"""How old a signature may be, or how far two clocks may be apart."""
USER_AGENT = "Linli-Webhooks/1"
URL_CHARS_MAX = 2_000
EXCERPT_CHARS = 500
ADDRESSES_MAX = 4
"""Addresses of one name that are tried."""
PORTS = {"http": 80, "https": 443}
HOST_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that some resolvers read as a number: 2130706433, 0x7f.1 and 127.1 are all 127.0.0.1 to them."""
UNSEEN = re.compile(r"[\x00-\x20\x7f\\]")

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host and port to the addresses in the order in which they should be tried. Raises OSError."""

LOOKUPS = ThreadPoolExecutor(max_workers=8, thread_name_prefix="lookup")
"""Of our own: a name server that does not answer must not take the threads that embed and hash."""


class Refusal(StrEnum):
    """Why a target is not spoken to."""

    MALFORMED = "malformed"
    SCHEME = "scheme"
    USERINFO = "userinfo"
    HOST = "host"
    PORT = "port"
    ADDRESS = "address"


WORDS: dict[Refusal, tuple[str, str]] = {
    Refusal.MALFORMED: ("This is no complete URL.", "这不是完整的网址。"),
    Refusal.SCHEME: ("Only http and https are spoken.", "仅支持 http 和 https。"),
    Refusal.USERINFO: ("A URL with a user or password in it is not used.", "网址中不能包含用户名或密码。"),
    Refusal.HOST: ("Write the host as a name or a plain IP address.", "主机请写成域名或标准的 IP 地址。"),
    Refusal.PORT: ("This port is not open to webhooks.", "不允许使用该端口。"),
    Refusal.ADDRESS: ("This host is not on the public Internet.", "该主机不在公网上。"),
}


class TargetRefused(Invalid):
    code = "target_refused"

    def __init__(self, reason: Refusal) -> None:
        super().__init__(*WORDS[reason], reason=reason)
        self.reason = reason


class Undelivered(Exception):
    """Nobody answered. `reason`: lookup, connect, tls, timeout or protocol."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be spoken to, as far as its form tells. `host` is lower-case ASCII, without brackets."""

    url: httpx.URL
    host: str
    port: int

    @property
    def host_header(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == PORTS[self.url.scheme] else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a receiver said. `text` is its beginning."""

    status: int
    seconds: float
    text: str
    retry_after_seconds: float | None = None

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300


def parse_target(settings: Settings, url: str) -> Target:
    """The target behind a URL, judged without asking anybody. Raises TargetRefused."""
    if len(url) > URL_CHARS_MAX or UNSEEN.search(url):
        raise TargetRefused(Refusal.MALFORMED)
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):  # what the library finds wrong, and what IDNA and ports do
        raise TargetRefused(Refusal.MALFORMED) from None
    if parsed.scheme not in PORTS:
        raise TargetRefused(Refusal.SCHEME)
    if parsed.userinfo or "@" in re.split(r"[/?#]", url.partition("://")[2], maxsplit=1)[0]:
        raise TargetRefused(Refusal.USERINFO)
    host = parsed.raw_host.decode("ascii").lower().removesuffix(".")
    _check_host(host)
    port = PORTS[parsed.scheme] if parsed.port is None else parsed.port
    if port not in settings.outgoing_ports:
        raise TargetRefused(Refusal.PORT)
    target = Target(parsed.copy_with(fragment=None), host, port)
    if (literal := addresses.parse(host)) is not None:
        _check_addresses(settings, target, [literal])
    return target


def _check_host(host: str) -> None:
    if ":" in host:
        # The library let only a literal in brackets pass; a zone names a card of this machine.
        if addresses.parse(host) is None or "%" in host:
            raise TargetRefused(Refusal.HOST)
        return
    if not HOST_NAME.fullmatch(host) or len(host) > 253:
        raise TargetRefused(Refusal.HOST)
    if NUMBER.fullmatch(host.rpartition(".")[2]) and addresses.parse(host) is None:
        raise TargetRefused(Refusal.HOST)


def _check_addresses(settings: Settings, target: Target, found: Sequence[Address]) -> None:
    listed = addresses.private_hosts(tuple(settings.outgoing_private_hosts))
    if not addresses.may_reach(target.host, found, listed):
        raise TargetRefused(Refusal.ADDRESS)


async def look_up(host: str, port: int) -> list[str]:
    """Addresses by the system's resolver. Raises OSError."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(LOOKUPS, ask)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def checked_addresses(settings: Settings, target: Target, *, resolver: Resolver = look_up) -> list[Address]:
    """Where the target is now, every address checked. Raises: TargetRefused, Undelivered."""
    literal = addresses.parse(target.host)
    try:
        named = [target.host] if literal is not None else await resolver(target.host, target.port)
    except (OSError, UnicodeError):
        raise Undelivered("lookup") from None
    found = [addresses.parse(one) for one in named]
    known = [one for one in found if one is not None]
    if not known or len(known) != len(found):
        raise Undelivered("lookup")
    _check_addresses(settings, target, known)
    return known[:ADDRESSES_MAX]


def sign(body: bytes, secrets: Sequence[str], *, now: datetime) -> str:
    """The value of `Linli-Signature` for a body that is sent now."""
    stamp = int(now.timestamp())
    return ",".join([f"t={stamp}", *(f"v1={_hmac(secret, stamp, body)}" for secret in secrets)])


def check_signature(
    header: str, body: bytes, secrets: Sequence[str], *, now: datetime, seconds: int = REPLAY_SECONDS
) -> bool:
    """What a receiver does: whether one of its secrets signed this body, within `seconds` of now."""
    parts = [part.strip().partition("=") for part in header.split(",")]
    stamps = [value for name, _, value in parts if name == "t"]
    if len(stamps) != 1 or not re.fullmatch(r"[0-9]{1,12}", stamps[0]):
        return False
    stamp = int(stamps[0])
    if abs(now.timestamp() - stamp) > seconds:
        return False
    given = [value for name, _, value in parts if name == "v1"]
    expected = [_hmac(secret, stamp, body) for secret in secrets]
    return any(hmac.compare_digest(one.encode(), other.encode()) for one in given for other in expected)


def _hmac(secret: str, stamp: int, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{stamp}.".encode() + body, sha256).hexdigest()


async def post_signed(
    settings: Settings, url: str, body: bytes, *, secrets: Sequence[str], now: datetime,
    headers: Mapping[str, str] | None = None, resolver: Resolver = look_up,
) -> Answer:  # fmt: skip
    """What the receiver of a signed JSON body answered, whatever its status.

    Nobody may hold an SQL session while this waits, up to `outgoing_seconds`. Raises: TargetRefused, Undelivered.
    """
    target = parse_target(settings, url)
    sent = {
        **(headers or {}), "Content-Type": "application/json", "User-Agent": USER_AGENT,
        # What is not compressed cannot unpack to more than was sent.
        "Accept-Encoding": "identity", "Connection": "close", "Host": target.host_header,
        SIGNATURE: sign(body, secrets, now=now),
    }  # fmt: skip
    try:
        async with asyncio.timeout(settings.outgoing_seconds):
            found = await checked_addresses(settings, target, resolver=resolver)
            return await _post_to_one(settings, target, found, body, sent)
    except (TimeoutError, httpx.TimeoutException):
        raise Undelivered("timeout") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
        raise Undelivered(_reason(error)) from None


async def _post_to_one(
    settings: Settings, target: Target, found: Sequence[Address], body: bytes, headers: Mapping[str, str]
) -> Answer:
    """The answer of the first address that takes the connection."""
    *first, last = found
    for address in first:
        with suppress(httpx.ConnectError, httpx.ConnectTimeout):
            return await _post(settings, target, address, body, headers)
    return await _post(settings, target, last, body, headers)


async def _post(
    settings: Settings, target: Target, address: Address, body: bytes, headers: Mapping[str, str]
) -> Answer:
    started = time.monotonic()
    timeout = httpx.Timeout(settings.outgoing_seconds, connect=settings.outgoing_connect_seconds)
    # A client of its own: a kept connection belongs to an address, and was made for another name perhaps.
    async with (
        httpx.AsyncClient(
            verify=_tls(settings.outgoing_ca_file), trust_env=False, follow_redirects=False, timeout=timeout
        ) as client,
        client.stream(
            "POST", target.url.copy_with(host=str(address)), content=body, headers=dict(headers),
            extensions={"sni_hostname": target.host},
        ) as response,
    ):  # fmt: skip
        text = await _beginning(response, settings.outgoing_answer_bytes_max)
        return Answer(response.status_code, time.monotonic() - started, text, _retry_after(response))


async def _beginning(response: httpx.Response, bytes_max: int) -> str:
    """The answer's first words. Reading ends at `bytes_max`: the rest of a longer one is left where it is."""
    received = bytearray()
    async for chunk in response.aiter_raw():
        received += chunk
        if len(received) >= bytes_max:
            break
    # Postgres holds no NUL.
    return received[: EXCERPT_CHARS * 4].decode("utf-8", "replace").replace("\x00", "")[:EXCERPT_CHARS]


def _retry_after(response: httpx.Response) -> float | None:
    given = response.headers.get("retry-after", "")
    return float(given) if re.fullmatch(r"[0-9]{1,9}", given) else None


def _reason(error: BaseException) -> str:
    """connect, tls or protocol, by what is at the bottom of it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLError):
            return "tls"
        seen = seen.__cause__ or seen.__context__
    return "connect" if isinstance(error, httpx.ConnectError | OSError) else "protocol"


@cache
def _tls(ca_file: str) -> ssl.SSLContext:
    """Loading the authorities takes longer than a request, so it is done once."""
    context = httpx.create_ssl_context(trust_env=False)
    if ca_file:
        context.load_verify_locations(ca_file)
    return context
