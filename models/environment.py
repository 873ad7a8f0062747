"""The Python environment in which vLLM runs. Its pins are not ours, so it has a folder of its own in the cache."""

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from models.provision import Progress, check_space, disk_errors, locked, run

HERE = Path(__file__).parent
CPU_LOCK = HERE / "engine_cpu.txt"
GPU_LOCK = HERE / "engine_gpu.txt"
TORCH = "torch==2.13.0"
"""Outside the hashed list: the build differs by machine (a CPU build on disk, a CPU index, or the large default)."""
MARKER = ".complete"
CPU_BYTES_NEEDED = 3_500_000_000
GPU_BYTES_NEEDED = 16_000_000_000
GPU_PACKAGES_ESTIMATE = 190


def gpu_memory_gib() -> float | None:
    """Memory of the largest NVIDIA GPU in GiB; None when there is none that works."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    try:
        listed = subprocess.run(  # noqa: S603
            [tool, "--query-gpu=memory.total", "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        ).stdout
        return max(float(line) for line in listed.splitlines() if line.strip()) / 1024
    except (OSError, ValueError, subprocess.SubprocessError):
        # A driver without a card, or a card without a driver: the CPU engine works in both cases.
        return None


def has_gpu() -> bool:
    """Whether vLLM's CUDA build is the one to install here."""
    return gpu_memory_gib() is not None


def environment_dir(cache_dir: Path, *, gpu: bool, torch_index: str = "") -> Path:
    """The folder of this lock on this machine; another lock, Python or architecture has another folder."""
    lock = (GPU_LOCK if gpu else CPU_LOCK).read_bytes()
    facts = f"{TORCH} {torch_index} {sys.version_info[:2]} {platform.system()} {platform.machine()} {gpu}"
    return cache_dir / "engines" / hashlib.sha256(lock + facts.encode()).hexdigest()[:12]


def prepare_environment(cache_dir: Path, progress: Progress, *, gpu: bool | None = None, torch_index: str = "") -> Path:
    """The Python of a ready engine environment; makes it on first use (minutes), else returns at once.

    `gpu` None looks for one. An unfinished environment of an earlier try is removed and made again.
    Raises: StarterFailed.
    """
    gpu = has_gpu() if gpu is None else gpu
    folder = environment_dir(cache_dir, gpu=gpu, torch_index=torch_index)
    python = folder / "bin" / "python"
    if (folder / MARKER).exists():
        return python
    with (
        disk_errors("Installing the engine"),
        locked(folder.with_suffix(".lock"), progress) as lock,
    ):
        if (folder / MARKER).exists():
            return python
        # Environments cannot be moved, so it is built in place and only the marker says that it is whole.
        shutil.rmtree(folder, ignore_errors=True)
        check_space(folder.parent, GPU_BYTES_NEEDED if gpu else CPU_BYTES_NEEDED, "Installing the engine")
        _build(folder, progress, lock=lock, gpu=gpu, torch_index=torch_index)
        (folder / MARKER).touch()
    progress("engine installed", 1.0)
    return python


def _build(folder: Path, progress: Progress, *, lock: int, gpu: bool, torch_index: str) -> None:
    python = str(folder / "bin" / "python")
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    total = GPU_PACKAGES_ESTIMATE if gpu else _packages_in(CPU_LOCK)

    def step(argv: list[str], what: str, stage: str, base: float) -> None:
        collected = 0

        def report() -> None:
            # Collecting is about half of the work; what pip has unpacked so far is the other half.
            unpacked = sum(1 for _ in folder.glob("lib/python*/site-packages/*.dist-info"))
            fraction = base + (0.99 - base) * min(1.0, 0.5 * (collected + unpacked) / total)
            progress(stage, fraction)

        def on_line(line: str) -> None:
            nonlocal collected
            collected += line.startswith("Collecting ")

        report()
        run(argv, what=what, lock=lock, on_line=on_line, tick=report)

    step([sys.executable, "-m", "venv", str(folder)], "Making the engine's environment", "making a venv", 0.0)
    if gpu:
        step([*pip, "-r", str(GPU_LOCK)], "Installing vLLM", "installing vLLM for the GPU", 0.02)
        return
    index = ["--index-url", torch_index] if torch_index else []
    step([*pip, *index, TORCH], "Installing torch", "installing torch", 0.02)
    locked_list = ["--no-deps", "--require-hashes", "-r", str(CPU_LOCK)]
    step([*pip, *locked_list], "Installing vLLM", "installing vLLM for the CPU", 0.2)


def _packages_in(lock: Path) -> int:
    return sum(1 for line in lock.read_text().splitlines() if "==" in line and not line.startswith("#"))
