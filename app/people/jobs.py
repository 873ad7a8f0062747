"""What the worker does about people from time to time."""

from datetime import timedelta

from sqlalchemy import text

from app.queue import periodic
from app.runtime import Runtime

REFRESH_TOKENS_KEPT_DAYS = 7
"""Ended families stay a while, so that a reused token can still be told from an unknown one in the logs."""


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
