"""What vLLM's `/metrics` says that matters here. Pure; no network."""

from dataclasses import dataclass

PREFIX = "vllm:"
PROGRESS = (
    "generation_tokens_total",
    "iteration_tokens_total_count",
    "prompt_tokens_total",
    "prefix_cache_queries_total",
    "kv_cache_usage_perc",
)
"""Figures that move only when the engine's core makes a step: the last two also while it still reads a prompt."""


@dataclass(frozen=True, slots=True)
class Meters:
    """One reading; all figures are sums over the server's engine cores. `progress` changes whenever one works."""

    running: int
    waiting: int
    generated: int
    prefix_cache_hits: int
    prefix_cache_queries: int
    progress: tuple[float, ...]


def read_meters(text: str) -> Meters | None:
    """The reading in a metrics page; None when this is no vLLM's."""
    sums: dict[str, float] = {}
    for line in text.splitlines():
        if not line.startswith(PREFIX):
            continue
        name, _, value = line.rpartition(" ")
        name = name.partition("{")[0].removeprefix(PREFIX)
        try:
            sums[name] = sums.get(name, 0.0) + float(value)
        except ValueError:
            continue
    if "generation_tokens_total" not in sums:
        return None
    return Meters(
        running=int(sums.get("num_requests_running", 0)),
        waiting=int(sums.get("num_requests_waiting", 0)),
        generated=int(sums["generation_tokens_total"]),
        prefix_cache_hits=int(sums.get("prefix_cache_hits_total", 0)),
        prefix_cache_queries=int(sums.get("prefix_cache_queries_total", 0)),
        progress=tuple(sums.get(name, 0.0) for name in PROGRESS),
    )
