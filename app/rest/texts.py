"""Texts as callers send them."""

from pydantic import StringConstraints


def cleaned(text: str) -> str:
    """Without outer blanks and unprintable marks, of which Postgres cannot hold some."""
    return "".join(c for c in text if c.isprintable() or c in "\n\t").strip()


def filled(chars_max: int) -> StringConstraints:
    """For a text that is more than blanks. What `\\s` is differs between OpenAPI's patterns and us, in U+0085."""
    return StringConstraints(strip_whitespace=True, min_length=1, pattern=r"[^\s\x85]", max_length=chars_max)
