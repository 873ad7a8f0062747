"""Who gets which variant, and who is held out: decided by a hash, so always the same. Pure.

The household is what is assigned, not the resident: who lives together talks, and a hold-out that reads the message
over the family's shoulder would hide its effect. Other neighbours may talk, too; that contamination stays, makes the
measured lift smaller than the true one, and is said with the results.
"""

from collections.abc import Sequence
from hashlib import sha256
from uuid import UUID

HOLDOUT = "holdout"
"""The arm of those who are not told."""


def arm_of(seed: str, household_id: UUID, *, holdout_percent: int, variants: Sequence[tuple[str, int]]) -> str:
    """The label of a variant, or HOLDOUT. `variants`: label and share, whose sum is what the shares are parts of.

    Two campaigns with different seeds assign independently of each other.
    """
    total = sum(share for _, share in variants)
    assert variants
    assert total > 0
    place = int.from_bytes(sha256(f"{seed}:{household_id}".encode()).digest()[:8]) / 2**64
    held = holdout_percent / 100
    if place < held:
        return HOLDOUT
    point = (place - held) / (1 - held) * total
    for label, share in variants:
        if point < share:
            return label
        point -= share
    return variants[-1][0]
