"""The arithmetic under every published ratio."""

import asyncio
import subprocess
import sys
import time

import numpy as np
import pytest

from bench import pairs
from bench.pairs import Ratio, Sample


def test_a_ratio_is_the_median_within_rounds_not_of_the_medians():
    slow_machine, quick_machine = 10.0, 1000.0
    floor = [slow_machine, quick_machine, quick_machine]
    ratio = pairs.ratio_of([0.5 * slow_machine, 0.5 * quick_machine, 0.8 * quick_machine], floor)
    assert ratio.median == 0.5
    assert ratio.low == 0.5
    assert ratio.high == pytest.approx(0.8)


def test_the_interval_holds_the_true_median_about_as_often_as_it_says():
    rng = np.random.default_rng(1)
    intervals = [pairs.interval(list(rng.normal(1.0, 0.2, 15))) for _ in range(100)]
    assert 85 <= sum(low <= 1.0 <= high for low, high in intervals) <= 100
    assert pairs.interval([2.0] * 7) == (2.0, 2.0)


async def test_sides_take_turns_and_cpu_is_counted_per_unit():
    order = []

    async def spinning() -> float:
        order.append("a")
        until = time.process_time() + 0.02
        while time.process_time() < until:
            pass
        return 2

    async def sleeping() -> float:
        order.append("b")
        await asyncio.sleep(0.02)
        return 1

    ratios = await pairs.compare({"a": spinning, "b": sleeping}, pairs=4, warm_ups=1)
    assert "".join(order) == "ba" + "abbaabba"
    assert (ratios["a"].median, ratios["a"].cpu_ratio) == (1.0, 1.0)
    assert ratios["a"].cpu_seconds_per_unit == pytest.approx(0.01, rel=0.5)
    assert ratios["b"].cpu_ratio < 1


async def test_a_side_may_measure_itself():
    async def p50() -> Sample:
        return Sample(units=100, value=3.0)

    async def other() -> Sample:
        return Sample(units=100, value=2.0)

    ratios = await pairs.compare({"bare": other, "ours": p50}, pairs=3, floor="bare")
    assert ratios["ours"].median == 1.5
    assert ratios["ours"].value == 3.0


def test_the_cpu_of_a_running_child_is_seen():
    spin = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert pairs.cpu_seconds([child.pid]) - pairs.cpu_seconds() >= 0.25
        child.kill()
    assert pairs.cpu_seconds() > 0


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.81, 0.9, "met"), (0.7, 0.79, "not met"), (0.75, 0.85, "undecided")]
)
def test_a_goal_fails_only_when_the_whole_interval_misses(low, high, expected, capsys):
    ratio = Ratio(median=0.8, low=low, high=high, cpu_ratio=1.0)
    assert pairs.verdict(ratio, at_least=0.8) == expected
    assert pairs.goal("throughput", ratio, at_least=0.8) is (expected != "not met")
    assert capsys.readouterr().out.endswith(f"goal >= 0.8: {expected}\n")
    assert pairs.verdict(Ratio(2, 2 - low, 2 - high, 1), at_most=1.2) == expected
