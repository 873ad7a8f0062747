"""Logging must not be what breaks."""

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import logging, sys
import structlog
from app import logs
from app.settings import Settings

logs.set_up(Settings(_env_file=None))
structlog.get_logger("full").warning("nobody_reads_this")
logging.getLogger("full").warning("nor this")
print("the work went on", file=sys.stderr)
"""


def test_a_full_disk_under_the_log_stops_nothing_that_is_logged() -> None:
    """A line that could not be written raised out of the request or the job that wrote it."""
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-c", SCRIPT], stdout=full, stderr=subprocess.PIPE, check=False)
    assert b"the work went on" in done.stderr
    assert b"Logging error" not in done.stderr
