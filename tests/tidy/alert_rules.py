"""The rules for Prometheus, from the table that `linli status` reads: `python -m tests.tidy.alert_rules` writes them."""

from pathlib import Path
from typing import Any

import yaml

from app.status.alerts import ALERTS, Alert

RULES = Path(__file__).parents[2] / "app" / "monitoring" / "alerts.yaml"
HEAD = """\
# Rules for Prometheus: the same conditions as `linli status` shows, from app/status/alerts.py.
# Not edited by hand: python -m tests.tidy.alert_rules
# Every `action` says what to do; *_zh says it in Chinese. `severity`: page (residents notice), ticket (today), info.
"""


def rules() -> str:
    """The file as it should be."""
    document = {"groups": [{"name": "linli", "rules": [_rule(alert) for alert in ALERTS]}]}
    return HEAD + yaml.safe_dump(document, allow_unicode=True, sort_keys=False, width=1_000)


def _rule(alert: Alert) -> dict[str, Any]:
    texts = {"summary": alert.summary, "description": alert.description, "action": alert.action}
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": f"{alert.minutes}m",
        "labels": {"severity": alert.severity.value},
        "annotations": {
            **{name: text.en for name, text in texts.items()},
            **{f"{name}_zh": text.zh for name, text in texts.items()},
        },
    }


if __name__ == "__main__":
    RULES.write_text(rules())
