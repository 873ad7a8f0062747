"""Texts as callers send them."""

NOT_BLANK = r"[^\s\x85]"
"""For a text that is stripped and then must not be empty: what a pattern's `\\s` is differs between OpenAPI and us."""
