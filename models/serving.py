"""The command line of the embedded vLLM. Measured choices; what else was tried stands beside each."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

ABOUT_FILE = "linli.json"
"""Lies beside the weights that we prepared: which model this is and where it came from."""

SMALL_MACHINE_CPUS = 4
"""Up to here every CPU computes: vLLM's own choice sets one aside for its scheduler, a quarter or more of all."""

XGRAMMAR_COMPACT = '{"backend":"xgrammar","disable_any_whitespace":true}'
"""Server-wide, since vLLM ignores the per-request form; free whitespace is where small models run without end."""


class ServeSettings(Protocol):
    """The settings the command line needs; `app.settings.Settings` has them."""

    @property
    def engine_context_tokens_max(self) -> int: ...
    @property
    def engine_requests_max(self) -> int: ...
    @property
    def engine_kv_gib(self) -> int: ...


def serve_command(
    python: Path, checkpoint: str, port: int, settings: ServeSettings, *, gpu: bool
) -> tuple[list[str], dict[str, str]]:
    """What starts vLLM on loopback: the arguments and the whole environment of the child.

    `checkpoint` is a folder or a hub id. Ready when `/health` answers 200. Only local files are read for a folder.
    """
    local = Path(checkpoint).is_dir()
    argv = [
        str(python),
        *("-m", "vllm.entrypoints.launchers.api_server.entry"),
        *("--model", checkpoint),
        *("--served-model-name", served_name(checkpoint)),
        *("--host", "127.0.0.1"),
        *("--port", str(port)),
        *("--max-model-len", str(settings.engine_context_tokens_max)),
        *("--max-num-seqs", str(settings.engine_requests_max)),
        *("--scheduling-policy", "priority"),
        *("--structured-outputs-config", XGRAMMAR_COMPACT),
        "--enable-auto-tool-choice",
        *("--tool-call-parser", "hermes"),
        "--enable-prompt-tokens-details",
        "--disable-fastapi-docs",
        "--disable-uvicorn-access-log",
    ]
    env = {**os.environ, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    # Another program's Python settings must not reach the engine's environment.
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        env.pop(name, None)
    if local:
        env["HF_HUB_OFFLINE"] = "1"
    if not gpu:
        # Compiling gains 4 to 8 % and costs a minute and a half at every start.
        argv += ["--dtype", "bfloat16", "--enforce-eager"]
        env["VLLM_CPU_KVCACHE_SPACE"] = str(settings.engine_kv_gib)
        # Waiting threads sleep instead of spinning. Beside other busy processes on the same two CPUs (load 5 to 7) one
        # stream decoded 1.7 to 3.2 times as fast in four interleaved rounds: a spinning thread takes the CPU from the
        # one it waits for.
        env |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
        env["VLLM_CPU_OMP_THREADS_BIND"] = threads_bind(available_cpus(), cpu_quota())
    return argv, env


def served_name(checkpoint: str) -> str:
    """The name clients ask for: what our own preparation noted in the folder, else the folder's or the hub's name."""
    try:
        return str(json.loads((Path(checkpoint) / ABOUT_FILE).read_text())["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return Path(checkpoint).name


def available_cpus() -> list[int]:
    """Numbers of the CPUs this process may run on."""
    return sorted(os.sched_getaffinity(0))


def cpu_quota(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """CPUs a container is allowed to use, in CPUs; None without a limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        micros = int((root / "cpu" / "cpu.cfs_quota_us").read_text())
        period_micros = int((root / "cpu" / "cpu.cfs_period_us").read_text())
        return micros / period_micros if micros > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def threads_bind(cpus: Sequence[int], quota: float | None) -> str:
    """The CPUs the engine's threads are pinned to, as vLLM reads it ("0-1,4"), or "auto".

    More threads than a quota allows would be throttled together, so a quota cuts the list. Large machines without
    a quota are left to vLLM, which knows their NUMA nodes and sibling threads.
    """
    count = len(cpus) if quota is None else max(1, min(len(cpus), int(quota)))
    if quota is None and count > SMALL_MACHINE_CPUS:
        return "auto"
    if count > SMALL_MACHINE_CPUS:
        count -= 1
    chosen = list(cpus)[:count]
    ranges: list[list[int]] = []
    for cpu in chosen:
        if ranges and cpu == ranges[-1][1] + 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
