"""Rules of the house that a machine can check."""

import re
import subprocess
from pathlib import Path

import pytest

from app.settings import Settings
from tests.tidy import locks
from tests.tidy.settings_table import README, settings_table

ROOT = Path(__file__).parents[2]
APP = ROOT / "app"
FEATURES = sorted(path.parent for path in APP.glob("*/__init__.py"))


def test_features_leave_the_commit_to_the_edge():
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in APP.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"session\.(commit|rollback)\(|\.commit\(\)", line) and path != APP / "runtime.py"
    ]
    assert not found, "only runtime.transaction() commits"


def test_every_table_module_is_known_to_the_migrations():
    text = (APP / "all_tables.py").read_text()
    for path in APP.glob("*/tables.py"):
        assert f"app.{path.parent.name} import tables" in text, f"app/all_tables.py does not import {path}"


def test_every_package_has_its_line_in_the_guide():
    guide = (APP / "README.md").read_text()
    for package in FEATURES:
        assert f"{package.name}/" in guide, f"app/README.md says nothing of {package.name}/"


def test_only_the_edges_import_routes_and_jobs():
    allowed = {APP / "main.py", APP / "worker.py"}
    for path in set(APP.rglob("*.py")) - allowed:
        assert not re.search(
            r"^from app\.\w+\.(routes|jobs) |^from app\.\w+ import (routes|jobs)\b", path.read_text(), re.M
        ), f"{path.relative_to(ROOT)}: tell a feature above by a job's name"


def test_only_the_runtime_names_the_real_engine():
    for path in set(APP.rglob("*.py")) - {APP / "runtime.py"}:
        assert "models.vllm_engine" not in path.read_text(), f"{path.relative_to(ROOT)}: take runtime.engine"


def test_every_setting_says_what_it_does_and_the_readme_shows_the_same():
    for name, field in Settings.model_fields.items():
        assert field.description, f"{name} has no description"
        assert field.description.endswith("."), f"{name}: end the sentence"
    assert settings_table() in README.read_text(), "run: python -m tests.tidy.settings_table"


def test_no_secret_has_a_default():
    for name, field in Settings.model_fields.items():
        if re.search(r"(secret|password|key)$", name):
            assert field.default is None, f"{name} must have no default"


@pytest.mark.parametrize("lock", locks.LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_lock_files_have_hashes_and_name_no_host(lock):
    assert not locks.problems(lock)


def test_the_lock_files_hold_everything_that_is_asked_for():
    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~!; ]", name, maxsplit=1)[0]).lower()

    run, dev = locks.requirements()
    for lock, wanted in ((locks.RUN, run), (locks.TEST, run + dev)):
        have = {plain(name) for name in locks.packages(lock.read_text())}
        missing = {plain(name) for name in wanted} - have
        assert not missing, f"run `make lock`: {lock.name} lacks {missing}"


def test_the_top_level_stays_small():
    listed = subprocess.run(["git", "ls-files", "--cached"], capture_output=True, text=True, cwd=ROOT, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/", 1)[0] for line in listed.stdout.splitlines()}
    expected = {
        *("app", "models", "migrations", "tests", "bench", ".ci"),
        *("pyproject.toml", "Makefile", "README.md", "LICENSE", "Dockerfile", "docker-compose.yml"),
        *(".gitignore", ".dockerignore", ".pre-commit-config.yaml"),
    }
    assert top <= expected, f"what is {top - expected}?"
