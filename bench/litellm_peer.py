"""The LiteLLM proxy as a peer: an environment of its own, made once, and started by its published command."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

from app.children import Child
from bench.house import answers, free_port
from models.provision import cache_dir

REQUIREMENTS = Path(__file__).with_name("litellm.txt")


def environment() -> Path:
    """The folder of its programs; installs them on first use, a minute or two."""
    folder = cache_dir() / "bench" / "litellm"
    made = folder / "made"
    if not made.exists() or made.read_text() != REQUIREMENTS.read_text():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        pip = [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--requirement", str(REQUIREMENTS)], check=True)
        made.write_text(REQUIREMENTS.read_text())
    return folder / "bin"


def peer(folder: Path, *, engine_url: str, model: str) -> tuple[Child, str, str]:
    """The proxy in front of an engine (not started yet), its address and its master key."""
    programs, port, key = environment(), free_port(), f"sk-{secrets.token_hex(24)}"
    config = folder / "litellm.yaml"
    config.write_text(
        f"model_list:\n  - model_name: {model}\n    litellm_params:\n      model: openai/{model}\n"
        f"      api_base: {engine_url}\n      api_key: none\n"
        f"general_settings:\n  master_key: {key}\nlitellm_settings:\n  telemetry: false\n"
    )
    named = {name: value for name, value in os.environ.items() if not name.startswith(("LINLI_", "PYTHON"))}
    child = Child(
        name="litellm",
        command=[str(programs / "litellm"), "--config", str(config), "--num_workers", "1",
                 "--host", "127.0.0.1", "--port", str(port)],
        log=folder / "logs" / "litellm.log",
        environment={**named, "PATH": f"{programs}:{named.get('PATH', '')}", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        folder=folder,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    child.is_ready = answers(f"{url}/health/liveliness")
    return child, url, key
