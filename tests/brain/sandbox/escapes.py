"""The table of attacks on the sandbox, and the world around it that they try to get at."""

import os
import shutil
import socket
import subprocess
import tempfile
import tomllib
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import msgspec

GOT_THROUGH: Final = "GOT THROUGH"
_STOPPED: Final = "T"
_FLOOD: Final = 200_000

_CALLS: Final = {
    **{"clone": 56, "ptrace": 101, "socket": 41, "reboot": 169, "clock_settime": 227},
    **{"kexec_load": 246, "add_key": 248, "perf_event_open": 298, "name_to_handle_at": 303},
    **{"finit_module": 313, "bpf": 321, "userfaultfd": 323, "io_uring_setup": 425},
}
"""Numbers of x86_64."""

_CALLER: Final = """import ctypes, errno, os, sys
call = ctypes.CDLL(None, use_errno=True).syscall
call.restype = ctypes.c_long
n = call(*[ctypes.c_long(int(one, 0)) for one in sys.argv[1:]])
if n == 0 and sys.argv[1] == '56': os._exit(0)
print('GOT THROUGH' if n >= 0 else errno.errorcode[ctypes.get_errno()])
"""


class Attack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of the table; its fields are explained there."""

    name: str
    run: str = ""
    python: str = ""
    call: str = ""
    errors: tuple[str, ...] = ()
    then: str = ""
    timeout: float = 20.0
    network: bool = False
    landlock: bool = False
    control: str = ""

    def argv(self, world: "World") -> tuple[str, ...]:
        """What to execute."""
        if self.call:
            name, *arguments = world.filled(self.call).split()
            number = str(_CALLS.get(name, name))
            return ("python3", "-c", _CALLER, number, *arguments)
        if self.python:
            return ("python3", "-c", world.filled(self.python))
        return ("bash", "-c", world.filled(self.run))


def attacks() -> list[Attack]:
    """The whole table."""
    table = tomllib.loads(Path(__file__).with_name("escapes.toml").read_text())
    return msgspec.convert(table["attack"], list[Attack])


class World:
    """What is around a sandbox: files, a process, servers. It notices what is done to it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.secret = f"SECRET-{uuid4().hex}"
        self.token = f"{uuid4().int % 10**6 + 10**6}.5"
        self.workspace = folder / "workspace"
        self._outside = folder / "outside"
        for one in (self.workspace, self._outside, folder / "another"):
            one.mkdir()
        for file in (self._outside / "secret", folder / "another" / "notes"):
            file.write_text(self.secret)
            file.chmod(0o600)
        self._victim = subprocess.Popen(
            ["sleep", "86399"], env={"PLANTED": self.secret}, cwd=self._outside
        )
        stack.callback(_end, self._victim)
        self._tcp = stack.enter_context(_bound("127.0.0.1", socket.SOCK_STREAM))
        self._udp = stack.enter_context(_bound("127.0.0.1", socket.SOCK_DGRAM))
        self._unix = stack.enter_context(_unix(str(folder / "socket")))
        self._abstract = stack.enter_context(_unix(f"\0{self.secret}"))
        self._before = _picture(folder)
        self._folder = folder
        self._words = {
            "secret": self._outside / "secret",
            "outside": self._outside,
            "pid": self._victim.pid,
            "engine": self._victim.pid,
            "tcp": self._tcp.getsockname()[1],
            "udp": self._udp.getsockname()[1],
            "unix": folder / "socket",
            "abstract": self.secret,
            "token": self.token,
            "free": _free_port(),
        }

    def filled(self, text: str) -> str:
        """The text with the names of this world in it."""
        for name, value in self._words.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    def harm(self, output: str) -> Iterator[str]:
        """In which ways an attack succeeded."""
        if GOT_THROUGH in output:
            yield "it says so"
        if self.secret in output:
            yield "it shows the secret"
        if _picture(self._folder) != self._before:
            yield "files outside are not as they were"
        if self._victim.poll() is not None or _state(self._victim.pid) == _STOPPED:
            yield "a process outside was ended or stopped"
        if any(map(_was_reached, (self._tcp, self._udp, self._unix, self._abstract))):
            yield "a server outside was reached"
        if any(_sleepers(self.token)):
            yield "a process is left"
        if sum(file.stat().st_size for file in self.workspace.glob("output-*")) > _FLOOD:
            yield "there is more output than allowed"


@contextmanager
def made_world() -> Generator[World]:
    """A world of its own, not below /tmp: every sandbox has a /tmp of its own anyway."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="september-escape-", dir="/var/tmp"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield World(folder, stack)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


@contextmanager
def _bound(host: str, kind: socket.SocketKind) -> Generator[socket.socket]:
    with socket.socket(socket.AF_INET, kind) as server:
        server.bind((host, 0))
        if kind is socket.SOCK_STREAM:
            server.listen()
        server.setblocking(False)
        yield server


@contextmanager
def _unix(path: str) -> Generator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        server.setblocking(False)
        yield server


def _free_port() -> int:
    with _bound("127.0.0.1", socket.SOCK_STREAM) as server:
        port: int = server.getsockname()[1]
        return port


def _was_reached(server: socket.socket) -> bool:
    try:
        if server.type == socket.SOCK_DGRAM:
            server.recv(1)
        else:
            server.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _picture(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Everything outside the workspace: mode, time of change, content."""
    found: dict[str, tuple[int, int, str]] = {}
    for path in sorted(folder.rglob("*")):
        if (folder / "workspace") in path.parents:
            continue
        status = path.lstat()
        content = path.read_text() if path.is_file() else ""
        changed = status.st_mtime_ns if path.is_file() else 0
        found[str(path)] = (status.st_mode, changed, content)
    return found


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _sleepers(token: str) -> Iterator[str]:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = Path("/proc", pid, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", token.encode()]:
            yield pid
