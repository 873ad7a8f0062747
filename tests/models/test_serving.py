"""The command line of the embedded engine."""

import json
from pathlib import Path

import pytest

from models.serving import available_cpus, cpu_quota, serve_command, served_name, threads_bind
from tests.models.conftest import settings_for


@pytest.mark.parametrize(
    ("cpus", "quota", "bind"),
    [
        ([0, 1], None, "0-1"),
        ([3], None, "3"),
        ([2, 3, 6, 7], None, "2-3,6-7"),
        (list(range(64)), None, "auto"),
        (list(range(64)), 2.0, "0-1"),
        (list(range(64)), 0.5, "0"),
        (list(range(8, 72)), 16.0, "8-22"),
        ([0, 1], 8.0, "0-1"),
    ],
)
def test_threads_are_bound_to_the_cpus_there_really_are(cpus, quota, bind):
    assert threads_bind(cpus, quota) == bind


@pytest.mark.parametrize(("text", "quota"), [("max 100000", None), ("150000 100000", 1.5), ("", None), ("x y", None)])
def test_a_containers_quota_is_read(tmp_path, text, quota):
    (tmp_path / "cpu.max").write_text(text)
    assert cpu_quota(tmp_path) == quota


def test_an_old_containers_quota_is_read(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_quota(tmp_path) == 2.0
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert cpu_quota(tmp_path) is None


def test_the_engine_listens_on_loopback_only_and_by_priority(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    argv, env = serve_command(Path("/e/bin/python"), str(tmp_path), 4321, settings_for("", tmp_path), gpu=False)
    assert argv[:3] == ["/e/bin/python", "-m", "vllm.entrypoints.launchers.api_server.entry"]
    assert argv[argv.index("--host") + 1] == "127.0.0.1"
    assert argv[argv.index("--scheduling-policy") + 1] == "priority"
    assert json.loads(argv[argv.index("--structured-outputs-config") + 1])["disable_any_whitespace"] is True
    assert env["HF_HUB_OFFLINE"] == "1"
    assert "PYTHONPATH" not in env
    assert available_cpus()


def test_the_gpu_engine_gets_no_cpu_flags(tmp_path):
    argv, env = serve_command(Path("/e/bin/python"), "Qwen/Qwen3-8B", 1, settings_for("", tmp_path), gpu=True)
    assert "--enforce-eager" not in argv
    assert "VLLM_CPU_KVCACHE_SPACE" not in env
    assert "HF_HUB_OFFLINE" not in env, "vLLM downloads a hub id itself"
    assert argv[argv.index("--served-model-name") + 1] == "Qwen3-8B"


def test_a_prepared_folder_is_served_under_its_models_name(tmp_path):
    assert served_name(str(tmp_path)) == tmp_path.name
    (tmp_path / "linli.json").write_text('{"name": "Sample-1B"}')
    assert served_name(str(tmp_path)) == "Sample-1B"
