"""What the worker does about people from time to time."""

from datetime import timedelta

from sqlalchemy import text

from app.queue import periodic
from app.runtime import Runtime

REFRESH_TOKENS_KEPT_DAYS = 7
"""Ended families stay a while, so that a reused token can still be told from an unknown one in the logs."""

PURGE_ROWS = 5_000
PURGES_MAX = 100
"""What is left then goes an hour later."""


@periodic(3600)
async def forget_old_rows(runtime: Runtime) -> None:
    """Delete kept answers and refresh tokens past their time, of all tenants: by a function of the owner."""
    now = runtime.clock()
    async with runtime.transaction(None) as session:
        await session.execute(
            text("SELECT forget_old_rows(:idempotency_before, :tokens_before)"),
            {
                "idempotency_before": now - timedelta(hours=runtime.settings.idempotency_hours),
                "tokens_before": now - timedelta(days=REFRESH_TOKENS_KEPT_DAYS),
            },
        )


@periodic(3600)
async def forget_audit_events(runtime: Runtime) -> None:
    """Delete what is older than `audit_days`, a few thousand rows at a time: by a function of the owner, since the
    app's role may delete none.
    """
    before = runtime.clock() - timedelta(days=runtime.settings.audit_days)
    for _ in range(PURGES_MAX):
        async with runtime.transaction(None) as session:
            statement = text("SELECT forget_audit_events(:before, :rows)")
            gone = await session.scalar(statement, {"before": before, "rows": PURGE_ROWS})
        if gone < PURGE_ROWS:
            return
