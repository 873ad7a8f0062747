"""The peers' Python environments: their pins are not ours, so each has a folder of its own in the cache."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from models.provision import cache_dir, locked, run, silent

HERE = Path(__file__).parent
MARKER = ".complete"


def python_of(peer: str) -> Path:
    """The Python that has what `peers_<peer>.txt` pins; made on first use (half a minute), else returned at once.

    Raises StarterFailed.
    """
    lock_file = HERE / f"peers_{peer}.txt"
    facts = hashlib.sha256(lock_file.read_bytes() + str(sys.version_info[:2]).encode()).hexdigest()[:12]
    folder = cache_dir() / "peers" / f"{peer}-{facts}"
    python = folder / "bin" / "python"
    with locked(folder.with_suffix(".lock"), silent) as lock:
        if not (folder / MARKER).exists():
            shutil.rmtree(folder, ignore_errors=True)
            print(f"installing {peer} into {folder}")
            subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
            pip = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"]
            run([*pip, "--no-deps", "--require-hashes", "-r", str(lock_file)], what=f"Installing {peer}", lock=lock)
            (folder / MARKER).touch()
    return python
