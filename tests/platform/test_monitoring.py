"""The dashboard and the rules ask only for what our processes really tell."""

import asyncio
import json
import os
import re
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

import promql_parser
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.status.alerts import ALERTS
from tests.tidy.alert_rules import RULES, rules

ROOT = Path(__file__).parents[2]
DASHBOARD = RULES.parent / "grafana.json"
GRAFANA_VARIABLES = {"$__rate_interval": "5m"}


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def asked() -> dict[str, str]:
    """Every expression by where it stands."""
    found = {alert.name: alert.expr for alert in ALERTS}
    for panel in panels():
        for target in panel["targets"]:
            expr = target["expr"]
            for name, value in GRAFANA_VARIABLES.items():
                expr = expr.replace(name, value)
            found[f"{panel['title']} {target['refId']}"] = expr
    return found


def names_in(expr: str) -> set[str]:
    return set(re.findall(r"\blinli_\w+", expr))


def test_the_rules_are_those_of_the_status():
    assert RULES.read_text() == rules(), "run: python -m tests.tidy.alert_rules"
    for rule in yaml.safe_load(RULES.read_text())["groups"][0]["rules"]:
        assert {"summary", "summary_zh", "description", "description_zh", "action", "action_zh"} == set(
            rule["annotations"]
        )


def test_every_expression_is_promql():
    for place, expr in asked().items():
        assert str(promql_parser.parse(expr)), place


def test_panels_do_not_overlap():
    taken: set[tuple[int, int]] = set()
    for panel in panels():
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


async def told(url: str, process: asyncio.subprocess.Process) -> str:
    """What /metrics says once its first signs of life were measured."""

    def read() -> str:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return str(answer.read().decode())

    async with asyncio.timeout(180):
        while process.returncode is None:
            try:
                text = await asyncio.to_thread(read)
            except OSError:
                text = ""
            if all(f'linli_processes{{role="{role}"}} 1.0' in text for role in ("web", "worker")):
                return text
            await asyncio.sleep(0.3)
    raise AssertionError(f"the process ended with {process.returncode}")


async def test_dashboard_and_rules_ask_only_for_what_web_and_worker_tell(services, runtime, settings):
    ports = {"web": free_port(), "worker": free_port()}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("LINLI_")},
        "LINLI_DATABASE_URL": services.database_url, "LINLI_REDIS_URL": services.redis_url,
        "LINLI_SECRET_KEY": "a secret of the tests, long enough to sign", "LINLI_DATA_DIR": str(settings.data_dir),
        "LINLI_WEB_PORT": str(ports["web"]), "LINLI_WORKER_METRICS_PORT": str(ports["worker"]),
        "LINLI_ENGINE_URL": f"http://127.0.0.1:{free_port()}/v1", "LINLI_LOG_LEVEL": "ERROR",
        "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    processes = {
        role: await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "app.cli",
            role,
            env=environment,
            cwd=settings.data_dir,
            stdout=asyncio.subprocess.DEVNULL,
        )
        for role in ports
    }
    try:
        pages = [await told(f"http://127.0.0.1:{ports[role]}/metrics", processes[role]) for role in ports]
    finally:
        for process in processes.values():
            if process.returncode is None:
                process.terminate()
        await asyncio.gather(*(process.wait() for process in processes.values()))
    families = [family for page in pages for family in text_string_to_metric_families(page)]
    known = {sample.name for family in families for sample in family.samples}
    # One that has labels tells nothing before it has counted; its name is there all the same.
    for family in families:
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        known |= {family.name + ending for ending in endings}
    for place, expr in asked().items():
        assert names_in(expr) <= known, f"{place} asks for what nobody tells: {names_in(expr) - known}"
    values = {(sample.name, *sorted(sample.labels.items())): sample.value for f in families for sample in f.samples}
    assert values["linli_part_up", ("part", "database")] == 1
    assert values["linli_processes", ("role", "web")] == 1
    assert any(key[0] == "linli_engine_ready" and value == 0 for key, value in values.items())
