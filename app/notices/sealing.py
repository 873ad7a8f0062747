"""Secrets that must be read again, such as those that sign webhooks: kept encrypted, never in the clear.

Fernet (AES-128-CBC with HMAC-SHA256) under a key that HKDF derives from LINLI_SECRET_KEY. A copy of the database alone
opens none of them. Who changes LINLI_SECRET_KEY makes them unreadable, and has every one replaced.
"""

import base64

from cryptography.fernet import Fernet, InvalidToken
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from app.settings import Settings

PURPOSE = b"linli sealed secrets 1"


class SealBroken(Exception):
    """Another key sealed it, or somebody changed it."""


def seal(settings: Settings, secret: str) -> str:
    return _box(settings).encrypt(secret.encode()).decode()


def unseal(settings: Settings, sealed: str) -> str:
    """The secret. Raises SealBroken."""
    try:
        return _box(settings).decrypt(sealed).decode()
    except InvalidToken:
        raise SealBroken from None


def _box(settings: Settings) -> Fernet:
    assert settings.secret_key is not None, "LINLI_SECRET_KEY is not set"
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=PURPOSE)
    return Fernet(base64.urlsafe_b64encode(derived.derive(settings.secret_key.get_secret_value().encode())))
