"""Guards commands: for each one a process that ends all of it when the Engine is gone.

A program of its own (`python -I -S guard.py <descriptor>`), on the standard library alone. It
forks a guard for every socket that it is handed. A guard reads its order from that socket and
starts the command; every descendant that loses its parent becomes a child of the guard
(PR_SET_CHILD_SUBREAPER), also one that called setsid or forked twice. When the Engine says so, or
its end of the socket closes because it was killed, the guard kills children until none is left.
A pipe's end needs nobody who asks for a signal in time: that is why no moment is too early.
"""

import base64
import ctypes
import fcntl
import json
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Final, TypedDict

_PR_SET_CHILD_SUBREAPER: Final = 36
_CHUNK: Final = 65_536
_LENGTH: Final = 4
_STREAMS: Final = 3
_FREE: Final = 10
"""Descriptors from here on are out of the way of those that a command is given."""

SECCOMP_FD: Final = 3
"""Where bubblewrap finds its filter."""

_CENSUS_MS: Final = 100
_KIB: Final = 1024


class Order(TypedDict):
    """What to run. `processes` and `memory` (bytes) bound the whole tree; null: no bound.

    `limits` are (RLIMIT_ name, value) pairs of each process; `seccomp` is base64 or null.
    """

    argv: list[str]
    environment: dict[str, str]
    folder: str
    limits: list[tuple[str, int]]
    processes: int | None
    memory: int | None
    seccomp: str | None


def main() -> None:
    """Fork a guard for every socket that arrives, until the Engine is gone."""
    with socket.socket(fileno=int(sys.argv[1])) as engine:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for guards
        while True:
            word, sockets = _received(engine, 1, 1)
            if not word:
                return
            for control in sockets:
                if os.fork() == 0:
                    try:
                        engine.close()
                        _guard(socket.socket(fileno=control))
                    finally:
                        os._exit(0)  # never back into this loop
                os.close(control)


def _guard(control: socket.socket) -> None:
    order, streams = _receive(control)
    if order is None:
        return
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        command = _start(order, streams)
    except OSError as error:
        _report(control, {"refused": error.errno, "why": error.strerror})
        return
    finally:
        for stream in streams:
            os.close(stream)
    over = _watch(control, command, order)
    status = _end_descendants(command)
    code = os.waitstatus_to_exitcode(status)
    _report(control, {"exit_code": code if code >= 0 else 128 - code, "over": over})


def _receive(control: socket.socket) -> tuple[Order | None, Sequence[int]]:
    """The order and the three streams; None when the Engine is gone before it is complete."""
    data, streams = _received(control, _CHUNK, _STREAMS)
    while len(data) < _LENGTH or len(data) < _LENGTH + int.from_bytes(data[:_LENGTH], "big"):
        more = control.recv(_CHUNK)
        if not more:
            return None, streams
        data += more
    order: Order = json.loads(data[_LENGTH:])
    return order, streams


def _received(channel: socket.socket, size: int, descriptors: int) -> tuple[bytes, list[int]]:
    """Bytes, and descriptors that no program inherits: recv_fds drops the flag that says so."""
    data, received, _, _ = socket.recv_fds(channel, size, descriptors)
    for descriptor in received:
        os.set_inheritable(descriptor, False)
    return data, received


def _start(order: Order, streams: Sequence[int]) -> int:
    """Start the command in this session, with its streams and nothing else of ours."""
    for name, bound in order["limits"]:
        kind: int = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (bound, bound))
    os.chdir(order["folder"])
    given = [fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, _FREE) for stream in streams]
    targets = [0, 1, 2]
    if order["seccomp"] is not None:
        given.append(_readable(base64.b64decode(order["seccomp"])))
        targets.append(SECCOMP_FD)
    argv = order["argv"]
    try:
        return os.posix_spawnp(
            argv[0],
            argv,
            order["environment"],
            file_actions=[
                (os.POSIX_SPAWN_DUP2, source, target)
                for source, target in zip(given, targets, strict=True)
            ],
            setsigdef=[signal.SIGPIPE, signal.SIGCHLD],
        )
    finally:
        for descriptor in given:
            os.close(descriptor)


def _readable(data: bytes) -> int:
    """A descriptor, out of the way, that gives these bytes (fewer than a pipe's 64 KiB)."""
    reads, writes = os.pipe2(os.O_CLOEXEC)
    os.write(writes, data)
    os.close(writes)
    moved = fcntl.fcntl(reads, fcntl.F_DUPFD_CLOEXEC, _FREE)
    os.close(reads)
    return moved


def _watch(control: socket.socket, command: int, order: Order) -> str | None:
    """Wait until it ends by itself, the Engine wants its end, or it is over a bound (named)."""
    poll = select.poll()
    ended = os.pidfd_open(command)
    poll.register(control, select.POLLIN)
    poll.register(ended, select.POLLIN)
    bounded = order["processes"] is not None or order["memory"] is not None
    while not poll.poll(_CENSUS_MS if bounded else None):
        over = _census(order)
        if over is not None:
            return over
    return None


def _census(order: Order) -> str | None:
    """Which bound the tree is over, of those that the kernel does not keep for a whole tree."""
    everybody = list(_descendants(os.getpid()))
    if order["processes"] is not None and len(everybody) > order["processes"]:
        return "processes"
    memory = order["memory"]
    if memory is not None and sum(map(_own_memory, everybody)) > memory:
        # Pages that processes share were counted for each: now exactly.
        if sum(map(_proportional_memory, everybody)) > memory:
            return "memory"
    return None


def _descendants(pid: int) -> Iterator[int]:
    rest = _children(pid)
    while rest:
        found = rest.pop()
        yield found
        rest += _children(found)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children", "rb") as listing:
                found += map(int, listing.read().split())
    return found


def _own_memory(pid: int) -> int:
    """Resident bytes of a process that stand in no file."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            _, resident, shared, *_ = map(int, file.read().split())
    except OSError:
        return 0
    return (resident - shared) * resource.getpagesize()


def _proportional_memory(pid: int) -> int:
    """The same, each page divided by how many share it."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss_Anon:"):
                    return int(line.split()[1]) * _KIB
    except OSError:
        pass
    return 0


def _end_descendants(command: int) -> int:
    """Kill children until there are none; each death may bring orphans. The command's status."""
    status = int(signal.SIGKILL)
    while True:
        for pid in _children(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            pid, ended = os.waitpid(-1, 0)
        except ChildProcessError:
            return status
        if pid == command:
            status = ended


def _report(control: socket.socket, report: dict[str, object]) -> None:
    with suppress(OSError):
        control.sendall(json.dumps(report).encode())


if __name__ == "__main__":
    main()
