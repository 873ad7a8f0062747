"""What every endpoint shares: problems, pages, idempotency, rate limits, request ids, health."""
