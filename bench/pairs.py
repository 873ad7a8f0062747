"""Two or more ways of doing the same, measured side by side: rounds A B, B A, A B …, ratios within a round.

Other work on the machine slows both sides of a round alike, so the ratio is trusted where the rate is not. CPU seconds
stand beside wall time: they are disturbed less.
"""

import os
import platform
import resource
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

RESAMPLES = 10_000
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a run of a side measured of itself, in place of units per second: a p50, a share, a memory size.

    `units` are still counted for the CPU seconds per unit.
    """

    units: float
    value: float


Side = Callable[[], Awaitable["float | Sample"]]
"""Does some work and says how many units were done; its wall time is taken around it."""


@dataclass(frozen=True, slots=True)
class Ratio:
    """A side against the floor: median of the paired ratios with its bootstrap 95 % interval.

    `value` is the side's own median (units per second, or what its Samples say). `cpu_ratio` is CPU seconds per unit
    against the floor's, so less is better, and 0 where the floor used less than can be seen.
    """

    median: float
    low: float
    high: float
    cpu_ratio: float
    value: float = 0.0
    cpu_seconds_per_unit: float = 0.0


async def compare(
    sides: Mapping[str, Side],
    *,
    pairs: int = 7,
    floor: str | None = None,
    pids: Mapping[str, Sequence[int]] | None = None,
    warm_ups: int = 1,
) -> dict[str, Ratio]:
    """Each side against `floor` (the first, unless named), over `pairs` rounds after `warm_ups` that do not count.

    CPU seconds are those of this process and its ended children, and of the running processes in `pids[side]`.
    """
    floor = floor or next(iter(sides))
    values: dict[str, list[float]] = {name: [] for name in sides}
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(-warm_ups, pairs):
        for name in sides if number % 2 == 0 else reversed(list(sides)):
            value, cpu_seconds = await _measure(sides[name], (pids or {}).get(name, ()))
            if number >= 0:
                values[name].append(value)
                cpu[name].append(cpu_seconds)
    return {
        name: ratio_of(values[name], values[floor], cpu=cpu[name], cpu_floor=cpu[floor])
        for name in sides
    }  # fmt: skip


async def _measure(side: Side, pids: Sequence[int]) -> tuple[float, float]:
    cpu, started = cpu_seconds(pids), time.perf_counter()
    done = await side()
    wall, used = time.perf_counter() - started, cpu_seconds(pids) - cpu
    if isinstance(done, Sample):
        return done.value, used / done.units
    return done / wall, used / done


def ratio_of(
    values: Sequence[float], floor: Sequence[float], *, cpu: Sequence[float] = (), cpu_floor: Sequence[float] = ()
) -> Ratio:
    """The ratio of two lists of equal length whose n-th entries were measured in the same round."""
    ratios = [value / base for value, base in zip(values, floor, strict=True)]
    low, high = interval(ratios)
    cpu_ratios = [mine / base for mine, base in zip(cpu, cpu_floor, strict=True) if base > 0]
    return Ratio(
        median=statistics.median(ratios),
        low=low,
        high=high,
        cpu_ratio=statistics.median(cpu_ratios) if cpu_ratios else 0.0,
        value=statistics.median(values),
        cpu_seconds_per_unit=statistics.median(cpu) if cpu else 0.0,
    )


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Bootstrap 95 % interval of the median of `values`, the same at each call."""
    drawn = np.random.default_rng(0).choice(np.asarray(values, dtype=np.float64), (RESAMPLES, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), (2.5, 97.5))
    return float(low), float(high)


def cpu_seconds(pids: Sequence[int] = ()) -> float:
    """User and system seconds used so far by this process, its ended children, and the processes named."""
    used = sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )
    return used + sum(_cpu_seconds_of(pid) for pid in pids)


def _cpu_seconds_of(pid: int) -> float:
    # The second field is the program's name in brackets, which may hold blanks and brackets itself.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def verdict(ratio: Ratio, *, at_least: float | None = None, at_most: float | None = None) -> str:
    """`met` when the whole interval meets the goal, `not met` when the whole interval misses it, else `undecided`."""
    ends = (ratio.low, ratio.high)
    good = [(at_least is None or end >= at_least) and (at_most is None or end <= at_most) for end in ends]
    return "met" if all(good) else "undecided" if any(good) else "not met"


MISSED: list[str] = []
"""Goals that this program missed for certain."""


def exit_status() -> int:
    """For the end of a bench: 1 when a goal was missed."""
    return 1 if MISSED else 0


def goal(name: str, ratio: Ratio, *, at_least: float | None = None, at_most: float | None = None) -> bool:
    """Print one line about a goal; False when it is missed for certain."""
    said = verdict(ratio, at_least=at_least, at_most=at_most)
    wanted = " ".join(f"{sign} {bound:g}" for sign, bound in ((">=", at_least), ("<=", at_most)) if bound is not None)
    print(f"{name}: {ratio.median:.3g} [{ratio.low:.3g}, {ratio.high:.3g}], goal {wanted}: {said}")
    if said == "not met":
        MISSED.append(name)
    return said != "not met"


def exactly(value: float) -> Ratio:
    """A figure that was counted, not sampled, in the form that `goal` takes."""
    return Ratio(median=value, low=value, high=value, cpu_ratio=0.0, value=value)


def table(ratios: Mapping[str, Ratio], *, unit: str = "units/s", title: str = "") -> None:
    """Print the sides: own median, ratio to the floor with interval, CPU per 1,000 units and its ratio."""
    width = max(len(name) for name in (*ratios, title))
    print(f"{title:{width}}  {unit:>12}  {'ratio [95 % interval]':>24}  {'CPU s/1,000':>12}  {'CPU ratio':>9}")
    for name, ratio in ratios.items():
        spread = f"{ratio.median:.3g} [{ratio.low:.3g}, {ratio.high:.3g}]"
        cpu = f"{1000 * ratio.cpu_seconds_per_unit:12.4g}  {ratio.cpu_ratio:9.3g}"
        print(f"{name:{width}}  {ratio.value:12.4g}  {spread:>24}  {cpu}")


def conditions() -> None:
    """Print when and where this runs, and how busy the machine is besides."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    print(f"{when}, {os.cpu_count()} cores, load {load}, Python {platform.python_version()}")
