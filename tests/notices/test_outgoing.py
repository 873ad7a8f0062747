"""The way out: where it refuses to go, that it goes only where it looked, and what a receiver can rely on."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from app.notices import addresses, outgoing
from app.notices.outgoing import Refusal, TargetRefused, Undelivered
from app.settings import Settings
from tests.conftest import NOW
from tests.notices.conftest import opened
from tests.notices.receiver import Receiver, answer, receiving

SECRET = "whsec_of_the_tests"
PLAIN = Settings(_env_file=None)


class Names:
    """A resolver that says what a test wants, one answer after the other, and counts."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


async def post(settings: Settings, url: str, body: bytes = b"{}", **how: object) -> outgoing.Answer:
    return await outgoing.post_signed(settings, url, body, secrets=[SECRET], now=NOW, **how)  # type: ignore[arg-type]


# Where it does not go


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.com/", Refusal.SCHEME), ("file:///etc/passwd", Refusal.SCHEME),
        ("gopher://example.com/_x", Refusal.SCHEME), ("//example.com/", Refusal.SCHEME), ("example.com", Refusal.SCHEME),
        ("javascript:alert(1)", Refusal.SCHEME), ("", Refusal.SCHEME),
        ("http://user@example.com/", Refusal.USERINFO), ("http://a:b@example.com/", Refusal.USERINFO),
        ("http://@example.com/", Refusal.USERINFO), ("http://example.com@10.0.0.1/", Refusal.USERINFO),
        ("http://example.com\\@10.0.0.1/", Refusal.MALFORMED), ("http://exam ple.com/", Refusal.MALFORMED),
        ("http://example.com/\r\nHost: x", Refusal.MALFORMED), ("http://example.com/\t", Refusal.MALFORMED),
        ("http://example.com:99999/", Refusal.PORT), ("http://[::1", Refusal.MALFORMED),
        ("http://example.com/" + "a" * 3_000, Refusal.MALFORMED),
        ("http:///path", Refusal.HOST), ("http:example.com", Refusal.HOST), ("http://-x.example.com/", Refusal.HOST),
        ("http://exa%6dple.com/", Refusal.HOST), ("http://a..b/", Refusal.HOST), ("http://./", Refusal.HOST),
        ("http://2130706433/", Refusal.HOST), ("http://0x7f000001/", Refusal.HOST), ("http://0x7f.1/", Refusal.HOST),
        ("http://127.1/", Refusal.HOST), ("http://017700000001/", Refusal.HOST), ("http://10.0.1/", Refusal.HOST),
        ("http://x.0x7f/", Refusal.HOST), ("http://1.2.3.4.5/", Refusal.HOST),
        ("http://example.com:22/", Refusal.PORT), ("http://example.com:0/", Refusal.PORT),
        ("https://example.com:6379/", Refusal.PORT), ("http://example.com:5432/", Refusal.PORT),
        ("http://127.0.0.1/", Refusal.ADDRESS), ("http://127.255.255.254/", Refusal.ADDRESS),
        ("http://127.0.0.1./", Refusal.ADDRESS), ("http://10.0.0.1/", Refusal.ADDRESS),
        ("http://172.16.0.1/", Refusal.ADDRESS), ("http://172.31.255.255/", Refusal.ADDRESS),
        ("http://192.168.1.1/", Refusal.ADDRESS), ("http://169.254.169.254/latest/meta-data", Refusal.ADDRESS),
        ("http://100.64.0.1/", Refusal.ADDRESS), ("http://100.100.100.200/", Refusal.ADDRESS),
        ("http://192.0.0.192/", Refusal.ADDRESS), ("http://0.0.0.0/", Refusal.ADDRESS),
        ("http://224.0.0.1/", Refusal.ADDRESS), ("http://255.255.255.255/", Refusal.ADDRESS),
        ("http://198.18.0.1/", Refusal.ADDRESS), ("http://203.0.113.7/", Refusal.ADDRESS),
        ("http://[::1]/", Refusal.ADDRESS), ("http://[::]/", Refusal.ADDRESS), ("http://[fe80::1]/", Refusal.ADDRESS),
        ("http://[fc00::1]/", Refusal.ADDRESS), ("http://[fd00:ec2::254]/", Refusal.ADDRESS),
        ("http://[ff02::1]/", Refusal.ADDRESS), ("http://[::ffff:127.0.0.1]/", Refusal.ADDRESS),
        ("http://[::ffff:a9fe:a9fe]/", Refusal.ADDRESS), ("http://[64:ff9b::7f00:1]/", Refusal.ADDRESS),
        ("http://[64:ff9b:1::1]/", Refusal.ADDRESS), ("http://[2002:7f00:1::]/", Refusal.ADDRESS),
        ("http://[2001:0:7f00:1::]/", Refusal.ADDRESS), ("http://[::127.0.0.1]/", Refusal.ADDRESS),
        ("http://[2001:db8::1]/", Refusal.ADDRESS),
    ],
)  # fmt: skip
def test_what_is_not_spoken_to(url: str, reason: Refusal):
    with pytest.raises(TargetRefused) as refused:
        outgoing.parse_target(PLAIN, url)
    assert refused.value.reason is reason
    assert refused.value.facts == {"reason": reason}


@pytest.mark.parametrize(
    ("url", "host", "header"),
    [
        ("https://example.com/hook?x=1", "example.com", "example.com"),
        ("HTTP://Example.COM:8080", "example.com", "example.com:8080"),
        ("http://example.com:80/", "example.com", "example.com"),
        ("https://hooks.example.com./x", "hooks.example.com", "hooks.example.com"),
        ("https://物业.中国/通知", "xn--vhqz89f.xn--fiqs8s", "xn--vhqz89f.xn--fiqs8s"),
        ("http://8.8.8.8/", "8.8.8.8", "8.8.8.8"),
        ("https://[2606:4700::1111]:8443/", "2606:4700::1111", "[2606:4700::1111]:8443"),
        ("https://[64:ff9b::808:808]/", "64:ff9b::808:808", "[64:ff9b::808:808]"),
        ("https://a_b.example.com/", "a_b.example.com", "a_b.example.com"),
    ],
)
def test_what_is_spoken_to(url: str, host: str, header: str):
    target = outgoing.parse_target(PLAIN, url)
    assert (target.host, target.host_header) == (host, header)


def test_a_fragment_stays_here():
    assert str(outgoing.parse_target(PLAIN, "https://example.com/a?b#c").url) == "https://example.com/a?b"


def test_every_refusal_has_its_words():
    assert set(outgoing.WORDS) == set(Refusal)


@given(st.ip_addresses())
def test_no_address_is_open_that_python_calls_private(address: IPv4Address | IPv6Address):
    if not addresses.unwrapped(address).is_global:
        assert not addresses.is_public(address)


@given(st.sampled_from([*addresses.NEVER, *addresses.PRIVATE]), st.data())
def test_no_address_of_a_closed_network_is_open_in_any_of_its_dresses(network, data):
    address = data.draw(st.ip_addresses(network=network))
    dresses = [address]
    if isinstance(network, IPv4Network):
        number = int(address)
        dresses += [IPv6Address((0xFFFF << 32) | number), IPv6Address((0x64FF9B << 96) | number)]
        dresses += [IPv6Address((0x2002 << 112) | (number << 80)), IPv6Address(number)]
    for one in dresses:
        assert not addresses.is_public(one), one


@given(st.ip_addresses())
def test_the_list_opens_what_is_private_and_never_what_is_never(address: IPv4Address | IPv6Address):
    listed = addresses.private_hosts(("hooks.example", "0.0.0.0/0", "::/0"))
    never = any(addresses.unwrapped(address) in network for network in addresses.NEVER)
    assert not (never and addresses.may_reach("hooks.example", [address], listed))


@given(st.text(max_size=60), st.sampled_from(["http://", "https://", "http:", ""]))
def test_nothing_that_is_typed_breaks_the_check(text: str, scheme: str):
    try:
        target = outgoing.parse_target(PLAIN, scheme + text)
    except TargetRefused:
        return
    assert target.host.isascii()
    assert target.port in PLAIN.outgoing_ports


def test_private_hosts_are_reached_when_the_operator_lists_them():
    listed = Settings(_env_file=None, outgoing_private_hosts=["10.1.0.0/16", "192.168.7.7", "fd12::/16"])
    for url in ("http://10.1.2.3/", "http://192.168.7.7/", "http://[fd12::5]/", "http://[::ffff:10.1.2.3]/"):
        assert outgoing.parse_target(listed, url).host
    for url in ("http://10.2.0.1/", "http://192.168.7.8/", "http://[fd13::5]/", "http://169.254.169.254/"):
        with pytest.raises(TargetRefused):
            outgoing.parse_target(listed, url)


# That it goes only where it looked


async def test_the_connection_goes_to_the_address_that_was_checked(reaching: Settings, receiver: Receiver):
    """A name that answers otherwise a moment later (DNS rebinding) is not asked again."""
    names = Names(["127.0.0.1"], ["127.0.0.2"], ["169.254.169.254"])
    told = await post(reaching, f"http://hooks.example:{receiver.port}/a?b=c", b'{"a":1}', resolver=names)
    assert (told.status, told.text, told.ok) == (200, "ok", True)
    assert names.asked == [("hooks.example", receiver.port)]
    (seen,) = receiver.seen
    assert (seen.path, seen.body, seen.headers["host"]) == ("/a?b=c", b'{"a":1}', f"hooks.example:{receiver.port}")


@pytest.mark.parametrize(
    "found", [["127.0.0.2"], ["8.8.8.8", "10.0.0.1"], ["::1"], ["fe80::1%eth0"], ["::ffff:127.0.0.2"]]
)
async def test_a_public_name_with_one_private_address_is_not_spoken_to(reaching, receiver: Receiver, found):
    with pytest.raises(TargetRefused) as refused:
        await post(reaching, f"http://elsewhere.example:{receiver.port}/", resolver=Names(found))
    assert refused.value.reason is Refusal.ADDRESS
    assert receiver.connections == 0


async def test_the_next_address_is_tried_when_one_takes_no_connection(reaching: Settings, receiver: Receiver):
    names = Names(["127.0.0.9", "127.0.0.1"])
    told = await post(reaching, f"http://hooks.example:{receiver.port}/", resolver=names)
    assert (told.ok, len(receiver.seen), len(names.asked)) == (True, 1, 1)


async def test_nobody_there(reaching: Settings, receiver: Receiver):
    with pytest.raises(Undelivered, match="connect"):
        await post(reaching, f"http://hooks.example:{receiver.port}/", resolver=Names(["127.0.0.9"]))

    async def unknown(host: str, port: int) -> list[str]:
        raise OSError("no such name")

    for resolver in (unknown, Names([]), Names(["no address"])):
        with pytest.raises(Undelivered, match="lookup"):
            await post(reaching, f"http://hooks.example:{receiver.port}/", resolver=resolver)


async def test_the_systems_own_resolver_finds_this_machine():
    assert set(await outgoing.look_up("localhost", 80)) <= {"127.0.0.1", "::1"}


async def test_a_redirect_is_an_answer_and_not_a_way(reaching: Settings, receiver: Receiver):
    receiver.say = lambda seen: answer(302, b"", f"Location: {receiver.url}/inside")
    told = await post(reaching, receiver.url)
    assert (told.status, told.ok, len(receiver.seen)) == (302, False, 1)


async def test_proxies_of_the_environment_are_not_used(reaching, receiver: Receiver, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.9:9")
    assert (await post(reaching, receiver.url)).ok


# Bounds


async def test_an_endless_answer_is_read_to_its_bound_only(reaching: Settings, receiver: Receiver):
    receiver.say, receiver.endless = lambda seen: b"HTTP/1.1 200 OK\r\n\r\n", True
    told = await post(reaching, receiver.url)
    assert (told.status, len(told.text)) == (200, outgoing.EXCERPT_CHARS)


async def test_who_thinks_too_long_is_left(reaching: Settings, receiver: Receiver):
    receiver.seconds = 30
    hasty = reaching.model_copy(update={"outgoing_seconds": 0.2})
    with pytest.raises(Undelivered, match="timeout"):
        await post(hasty, receiver.url)
    assert len(receiver.seen) == 1


async def test_an_answer_that_comes_in_drops_ends_with_the_time(reaching: Settings, receiver: Receiver):
    """Each drop is in time for a limit that counts from the last one."""
    receiver.say, receiver.endless = lambda seen: b"HTTP/1.1 200 OK\r\n\r\n", True
    patient = reaching.model_copy(update={"outgoing_seconds": 0.3, "outgoing_answer_bytes_max": 10**12})
    with pytest.raises(Undelivered, match="timeout"):
        await post(patient, receiver.url)


async def test_what_is_no_http_is_told_as_such(reaching: Settings, receiver: Receiver):
    receiver.say = lambda seen: b"220 mail.example ESMTP\r\n"
    with pytest.raises(Undelivered, match="protocol"):
        await post(reaching, receiver.url)


async def test_an_answer_that_cannot_be_stored_is_made_storable(reaching: Settings, receiver: Receiver):
    receiver.say = lambda seen: answer(500, b"a\x00b\xff", "Retry-After: 17")
    told = await post(reaching, receiver.url)
    assert (told.status, told.text, told.retry_after_seconds) == (500, "ab\ufffd", 17.0)


# TLS


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Files of an authority, and of a certificate and key that it gave to hooks.example."""
    folder = tmp_path_factory.mktemp("tls")
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the tests")])
    since = datetime.now(UTC) - timedelta(days=1)

    def certificate(subject: x509.Name, public_key, extension: x509.ExtensionType) -> bytes:
        made = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(ca_name).public_key(public_key)
            .serial_number(x509.random_serial_number()).not_valid_before(since)
            .not_valid_after(since + timedelta(days=9)).add_extension(extension, critical=True)
        )  # fmt: skip
        return made.sign(ca_key, SHA256()).public_bytes(Encoding.PEM)

    ca = folder / "ca.pem"
    ca.write_bytes(certificate(ca_name, ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=0)))
    names = x509.SubjectAlternativeName([x509.DNSName("hooks.example")])
    chain = folder / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    chain.write_bytes(private + certificate(x509.Name([]), key.public_key(), names))
    return ca, chain


@pytest.fixture
async def secure(authority: tuple[Path, Path]) -> AsyncIterator[tuple[Receiver, list[str]]]:
    """A receiver that speaks TLS as hooks.example, and the names it was asked for."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority[1])
    asked: list[str] = []
    context.sni_callback = lambda sock, name, ctx: asked.append(name)
    async with receiving(tls=context) as receiver:
        yield receiver, asked


async def test_tls_asks_for_the_name_and_believes_no_other(settings: Settings, authority, secure):
    receiver, asked = secure
    trusting = opened(settings, receiver).model_copy(
        update={"outgoing_ca_file": str(authority[0]), "outgoing_private_hosts": ["hooks.example", "other.example"]}
    )
    at_home = Names(["127.0.0.1"])
    assert (await post(trusting, f"https://hooks.example:{receiver.port}/", resolver=at_home)).ok
    assert asked == ["hooks.example"]
    with pytest.raises(Undelivered, match="tls"):
        await post(trusting, f"https://other.example:{receiver.port}/", resolver=at_home)
    strict = trusting.model_copy(update={"outgoing_ca_file": ""})
    with pytest.raises(Undelivered, match="tls"):
        await post(strict, f"https://hooks.example:{receiver.port}/", resolver=at_home)
    assert len(receiver.seen) == 1


# The signature


async def test_what_arrives_is_signed_over_its_bytes(reaching: Settings, receiver: Receiver):
    body = '{"data":"三单元没水"}'.encode()
    await post(reaching, receiver.url, body, headers={"Linli-Event-Id": "7"})
    (seen,) = receiver.seen
    assert seen.headers["linli-event-id"] == "7"
    assert seen.headers["content-type"] == "application/json"
    signature = seen.headers["linli-signature"]
    assert signature.startswith(f"t={int(NOW.timestamp())},v1=")
    assert outgoing.check_signature(signature, seen.body, [SECRET], now=NOW)
    assert not outgoing.check_signature(signature, seen.body + b" ", [SECRET], now=NOW)
    assert not outgoing.check_signature(signature, seen.body, ["another secret"], now=NOW)


def test_while_a_secret_is_exchanged_both_are_good():
    signature = outgoing.sign(b"x", ["new", "old"], now=NOW)
    for known in ("new", "old"):
        assert outgoing.check_signature(signature, b"x", [known], now=NOW)
    assert not outgoing.check_signature(outgoing.sign(b"x", ["new"], now=NOW), b"x", ["old"], now=NOW)


@pytest.mark.parametrize(("seconds", "good"), [(0, True), (299, True), (-299, True), (301, False), (-301, False)])
def test_a_recorded_request_cannot_be_played_again_later(seconds: int, good: bool):
    signature = outgoing.sign(b"x", [SECRET], now=NOW)
    later = NOW + timedelta(seconds=seconds)
    assert outgoing.check_signature(signature, b"x", [SECRET], now=later) is good


def test_the_time_is_signed_too():
    signature = outgoing.sign(b"x", [SECRET], now=NOW)
    later = NOW + timedelta(hours=1)
    forged = signature.replace(f"t={int(NOW.timestamp())}", f"t={int(later.timestamp())}")
    assert not outgoing.check_signature(forged, b"x", [SECRET], now=later)


@pytest.mark.parametrize(
    "header", ["", "t=1", "v1=aa", "t=,v1=", "t=x,v1=y", "t=1,t=2,v1=aa", "t=²,v1=é", "t=-1,v1=aa"]
)
def test_what_is_no_signature_is_none(header: str):
    assert not outgoing.check_signature(header, b"x", [SECRET], now=NOW)
