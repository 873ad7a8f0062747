"""Scopes: what a token may do. Roles name sets of them; keys are given some one by one."""

from app.people.tables import StaffRole

RESIDENT_SCOPES = frozenset(
    {
        "chat:write",
        "knowledge:read",
        "me:read",
        "me:write",
        "workorders:own",
        "messages:read",
        "promises:read",
        "recommendations:own",
    }
)

STAFF_BASE = frozenset(
    {
        "chat:write",
        "knowledge:read",
        "me:read",
        "messages:read",
        "communities:read",
        "spaces:read",
        "residents:read",
        "rota:read",
        "items:read",
        "jobs:read",
    }
)

DESK_BASE = frozenset({"workorders:read", "workorders:write", "incidents:read"})
"""What everybody on the staff may do at the service desk: see orders, open and comment them, move their own."""
DESK = DESK_BASE | {
    "workorders:dispatch", "incidents:write", "conversations:write", "analytics:read"
}  # fmt: skip
"""What running the desk takes: any move of any order, incidents, and talking to residents."""

ROLE_SCOPES: dict[StaffRole, frozenset[str]] = {
    StaffRole.MANAGER: STAFF_BASE
    | DESK
    | {
        "communities:write",
        "spaces:write",
        "residents:write",
        "staff:read",
        "staff:write",
        "rota:write",
        "knowledge:write",
        "conversations:read",
        "conversations:write",
        "keys:read",
        "keys:write",
        "desk:write",
        "webhooks:read",
        "webhooks:write",
        "audit:read",
        "deliveries:read",
        "deliveries:write",
        "items:write",
        "recommendations:read",
        "recommendations:write",
        "rankers:write",
        "campaigns:read",
        "campaigns:write",
    },
    StaffRole.FRONT_DESK: STAFF_BASE
    | DESK
    | {"residents:write", "conversations:read", "conversations:write", "knowledge:write", "items:write"}
    | {"recommendations:read"},
    StaffRole.ENGINEER: STAFF_BASE | DESK_BASE,
    StaffRole.SECURITY: STAFF_BASE | DESK_BASE,
    StaffRole.FINANCE: STAFF_BASE | DESK_BASE,
}

ALL_SCOPES: frozenset[str] = frozenset().union(RESIDENT_SCOPES, *ROLE_SCOPES.values(), {"knowledge:staff"})
"""Every scope there is; `knowledge:staff` lets an API key read what is meant for staff."""
