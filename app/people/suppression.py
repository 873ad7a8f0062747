"""Small groups stay unseen, also by subtraction. Pure."""

from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

HOUSEHOLDS_MIN = 5
"""A figure over fewer households is not shown: neighbours would know whose it is."""

Key = TypeVar("Key", bound=Hashable)


def hidden_groups(
    households: Mapping[Key, Collection[object]], *, sizes: Mapping[Key, int], least: int = HOUSEHOLDS_MIN
) -> frozenset[Key]:
    """The groups whose figures are not shown beside a total that is.

    `households`: the distinct ones behind each group, of large groups any `least` of them; `sizes`: how many there are.
    A group under `least` is hidden. What is left of the total without the shown groups must stand for at least two
    groups and `least` households, so the smallest shown ones are hidden too until it does. When all together are fewer
    than `least`, all are hidden, and the total must not be shown either.
    """
    hidden = {key for key, members in households.items() if len(members) < least}
    if not hidden:
        return frozenset()
    # One household may be in several groups: only the union tells how many stand behind the difference.
    behind = {one for key in hidden for one in households[key]}
    for key in sorted(households.keys() - hidden, key=lambda key: (sizes[key], str(key))):
        if len(hidden) >= 2 and len(behind) >= least:
            break
        hidden.add(key)
        behind |= set(households[key])
    return frozenset(hidden)
