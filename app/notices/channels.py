"""How a message leaves the house: one function a channel. No database session is open while one of them waits."""

import asyncio
import json
import re
import smtplib
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime, formataddr
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from app.notices import outgoing, sealing
from app.notices.outgoing import TargetRefused, Undelivered
from app.notices.sealing import SealBroken
from app.notices.tables import ChannelKind
from app.settings import Settings

EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})+")
PHONE = re.compile(r"\+?[0-9][0-9() -]{4,28}")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Parcel:
    """All that sending one message needs. `address` is a mail address or a phone number; a webhook has none."""

    delivery_id: UUID
    attempt: int
    channel: ChannelKind
    url: str
    sealed_secret: str
    community: dict[str, str]
    person: dict[str, str]
    language: str
    address: str
    kind: str
    title: dict[str, str]
    body: dict[str, str]
    link: str
    leave_link: str
    created_at: datetime
    sent_at: datetime

    def words(self, texts: dict[str, str]) -> str:
        """In the language of the one who is told, else in the one there is."""
        return texts.get(self.language) or texts.get("zh") or texts.get("en") or ""


class SendFailed(Exception):
    """It did not go out. `for_good`: it never will, so that no further try is made."""

    def __init__(self, detail: str, *, for_good: bool = False, **facts: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.for_good = for_good
        self.facts = facts


def usable_address(kind: ChannelKind, *, login: str, phone: str) -> str:
    """Where a person is reached through a channel; empty when that is not known. A login may be a mail address."""
    if kind is ChannelKind.EMAIL:
        return login if EMAIL.fullmatch(login) else ""
    return phone if PHONE.fullmatch(phone) else ""


def masked(address: str) -> str:
    """Enough of an address to tell it from another one."""
    name, at, host = address.partition("@")
    if at:
        return f"{name[:1]}***@{host}"
    return f"{address[:3]}****{address[-2:]}" if len(address) > 6 else "****"


async def send_webhook(settings: Settings, parcel: Parcel) -> dict[str, Any]:
    return await _post(settings, parcel, {})


async def send_spoken_or_texted(settings: Settings, parcel: Parcel) -> dict[str, Any]:
    """SMS and phone: the service that the community named gets the number and the words, short and in one language."""
    text = " ".join(part for part in (parcel.words(parcel.title), parcel.words(parcel.body), parcel.link) if part)
    return await _post(settings, parcel, {"to": parcel.address, "text": text, "language": parcel.language})


async def _post(settings: Settings, parcel: Parcel, more: dict[str, str]) -> dict[str, Any]:
    body = {
        # The same with every try: whoever gets it twice knows it by this.
        "id": str(parcel.delivery_id),
        "attempt": parcel.attempt,
        "channel": parcel.channel.value,
        "kind": parcel.kind,
        "community": parcel.community,
        "person": parcel.person,
        "title": parcel.title,
        "body": parcel.body,
        "link": parcel.link,
        "created_at": parcel.created_at.isoformat(),
        **more,
    }
    sent = json.dumps(body, ensure_ascii=False).encode()
    try:
        secret = sealing.unseal(settings, parcel.sealed_secret)
        answer = await outgoing.post_signed(
            settings, parcel.url, sent, secrets=[secret], now=parcel.sent_at,
            headers={"Linli-Event-Id": str(parcel.delivery_id)},
        )  # fmt: skip
    except SealBroken as error:
        raise SendFailed(
            "the channel's secret was sealed by another key: make the channel anew", for_good=True
        ) from error
    except TargetRefused as error:
        # The address leads where nothing may be sent: it will not become better by trying.
        raise SendFailed(f"refused: {error.reason}", for_good=True) from error
    except Undelivered as error:
        raise SendFailed(f"nobody answered: {error.reason}") from error
    if not answer.ok:
        raise SendFailed(f"HTTP {answer.status}", status=answer.status, answer=answer.text)
    return {"status": answer.status}


async def send_email(settings: Settings, parcel: Parcel) -> dict[str, Any]:
    if not settings.smtp_url:
        raise SendFailed("No SMTP server is set (LINLI_SMTP_URL).")
    message = email_of(settings, parcel)
    return await asyncio.to_thread(_hand_over, settings, message)


def email_of(settings: Settings, parcel: Parcel) -> EmailMessage:
    """The mail, in the language of its reader. Its Message-ID is the same with every try."""
    message = EmailMessage()
    # What residents wrote may stand in a title, and a line break would begin another header.
    message["Subject"] = " ".join(parcel.words(parcel.title).split())
    message["From"] = formataddr((" ".join(parcel.community["name"].split()), settings.smtp_from))
    message["To"] = parcel.address
    message["Date"] = format_datetime(parcel.created_at)
    message["Message-ID"] = f"<{parcel.delivery_id}@{settings.smtp_from.partition('@')[2] or 'linli'}>"
    message["Auto-Submitted"] = "auto-generated"
    if parcel.leave_link:
        # RFC 8058: mail programs show a button of their own, and large providers want one of whoever writes to many.
        message["List-Unsubscribe"] = f"<{parcel.leave_link}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content("\n\n".join(part for part in (parcel.words(parcel.body), parcel.link) if part))
    return message


def _hand_over(settings: Settings, message: EmailMessage) -> dict[str, Any]:
    """Runs in a thread of its own. Raises SendFailed."""
    try:
        return _speak_smtp(settings, message)
    except smtplib.SMTPRecipientsRefused as error:
        codes = [code for code, _ in error.recipients.values()]
        raise SendFailed(f"refused: {codes}", for_good=all(code >= 500 for code in codes), codes=codes) from error
    except smtplib.SMTPResponseException as error:
        raise SendFailed(f"SMTP {error.smtp_code}", code=error.smtp_code) from error
    except (smtplib.SMTPException, OSError) as error:
        raise SendFailed(f"{type(error).__name__}: {error}"[:500]) from error


def _speak_smtp(settings: Settings, message: EmailMessage) -> dict[str, Any]:
    where, seconds = urlsplit(settings.smtp_url), settings.smtp_seconds
    host, context = where.hostname or "localhost", ssl.create_default_context()
    if where.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(host, where.port or 465, timeout=seconds, context=context)
    else:
        server = smtplib.SMTP(host, where.port or 587, timeout=seconds)
    with server:
        server.ehlo()
        safe = where.scheme == "smtps"
        if not safe and server.has_extn("starttls"):
            server.starttls(context=context)
            server.ehlo()
            safe = True
        if settings.smtp_password is not None:
            if not safe and host not in LOOPBACK:
                raise SendFailed("The SMTP server offers no encryption, so the password is not sent to it.")
            server.login(unquote(where.username or settings.smtp_from), settings.smtp_password.get_secret_value())
        server.send_message(message)
    return {"server": host}


SENDERS: dict[ChannelKind, Callable[[Settings, Parcel], Awaitable[dict[str, Any]]]] = {
    ChannelKind.WEBHOOK: send_webhook,
    ChannelKind.EMAIL: send_email,
    ChannelKind.SMS: send_spoken_or_texted,
    ChannelKind.PHONE: send_spoken_or_texted,
}
"""What a sender gives back is kept with the attempt. Each raises SendFailed and nothing else that is expected."""
