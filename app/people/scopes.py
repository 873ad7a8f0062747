"""Scopes: what a token may do. Roles name sets of them; keys are given some one by one."""

from app.people.tables import StaffRole

RESIDENT_SCOPES = frozenset({"chat:write", "knowledge:read", "me:read"})

STAFF_BASE = frozenset({"chat:write", "knowledge:read", "me:read", "communities:read", "spaces:read", "residents:read"})

ROLE_SCOPES: dict[StaffRole, frozenset[str]] = {
    StaffRole.MANAGER: STAFF_BASE
    | {
        "communities:write",
        "spaces:write",
        "residents:write",
        "staff:read",
        "staff:write",
        "knowledge:write",
        "conversations:read",
        "keys:read",
        "keys:write",
        "jobs:read",
        "jobs:write",
        "webhooks:read",
        "webhooks:write",
        "audit:read",
    },
    StaffRole.FRONT_DESK: STAFF_BASE | {"residents:write", "conversations:read", "knowledge:write"},
    StaffRole.ENGINEER: STAFF_BASE,
    StaffRole.SECURITY: STAFF_BASE,
    StaffRole.FINANCE: STAFF_BASE,
}

ALL_SCOPES: frozenset[str] = frozenset().union(RESIDENT_SCOPES, *ROLE_SCOPES.values(), {"knowledge:staff"})
"""Every scope there is; `knowledge:staff` lets an API key read what is meant for staff."""
