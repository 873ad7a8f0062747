"""The lock files: `python -m tests.tidy.locks write` makes them, without an argument they are checked.

They name no host and no path of a machine, and every package has its hashes.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN, TEST = ROOT / "app" / "requirements.txt", ROOT / "tests" / "requirements.txt"
# vLLM's GPU build brings CUDA packages that could not be resolved where this was written: pinned, not hashed.
UNHASHED = ROOT / "models" / "engine_gpu.txt"
LOCKS = (RUN, TEST, ROOT / "models" / "engine_cpu.txt", UNHASHED)
HOST = re.compile(r"://|file:/|--(?:extra-)?index-url|--find-links|--trusted-host|^-[ief] |(?:^|\s|@)/\w", re.MULTILINE)
COMPILE = (
    *(sys.executable, "-m", "piptools", "compile", "--quiet", "--generate-hashes", "--strip-extras", "--allow-unsafe"),
    *("--no-header", "--no-annotate", "--no-emit-options", "--resolver=backtracking"),
    *("--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host"),
)


def requirements() -> tuple[list[str], list[str]]:
    """What Linli runs on, and what it is tested with on top, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    run = list(project["project"]["dependencies"])
    for extra in project["project"].get("optional-dependencies", {}).values():
        run += extra
    # Our own package is installed with these, without fetching anything.
    run += [*project["build-system"]["requires"], "wheel"]
    return run, list(project["dependency-groups"]["dev"])


def write(*options: str) -> None:
    run, dev = requirements()
    for lock, wanted in ((RUN, run), (TEST, [*run, *dev, f"-c {RUN}"])):
        command = [*COMPILE, *options, "--output-file", str(lock), "-"]
        subprocess.run(command, input="\n".join(wanted), text=True, check=True, cwd=ROOT)
        print(f"wrote {lock.relative_to(ROOT)}: {len(packages(lock.read_text()))} packages")  # noqa: T201


def packages(text: str) -> dict[str, int]:
    """The pinned packages of a lock, each with its number of hashes."""
    found: dict[str, int] = {}
    name = ""
    for line in text.splitlines():
        if pinned := re.match(r"([A-Za-z0-9._-]+)==", line):
            name = pinned[1]
            found[name] = 0
        found[name] = found.get(name, 0) + line.count("--hash=sha256:")
    found.pop("", None)
    return found


def problems(lock: Path) -> list[str]:
    """What is wrong with a lock file, for people."""
    text = lock.read_text()
    name = lock.relative_to(ROOT)
    found = [f"{name} names a host or a path: {hit.group()!r}" for hit in HOST.finditer(text)]
    if lock != UNHASHED:
        found += [f"{name}: {package} has no hash" for package, hashes in packages(text).items() if not hashes]
    return found


def main() -> int:
    if sys.argv[1:2] == ["write"]:
        write(*sys.argv[2:])
    found = [problem for lock in LOCKS if lock.exists() for problem in problems(lock)]
    print("\n".join(found) or "lock files: every package has hashes, none names a host")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
