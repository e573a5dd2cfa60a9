"""The seccomp filter of every sandbox: a BPF program that refuses what no command needs.

Refused with EPERM are calls that change the machine or widen the kernel's attack surface:
mounts, namespaces, modules, kexec, bpf, perf, userfaultfd, keyrings, io_uring, clocks, handles.
All of them also need a capability that the sandbox does not have, or a namespace that it may not
make; the filter is the second wall. Nor may a file become setuid or setgid: the workspace is on
the host, and what lies there could be run by somebody else. Numbers are from libseccomp's tables
(asm-generic for arm).
"""

import platform
import struct
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

_EPERM: Final = 1
_ENOSYS: Final = 38

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06

_KILL: Final = 0x8000_0000
_ALLOW: Final = 0x7FFF_0000
_ERRNO: Final = 0x0005_0000

_NUMBER_AT: Final = 0
_ARCH_AT: Final = 4
_ARGUMENTS_AT: Final = 16
_ARGUMENT: Final = 8

_NEW_NAMESPACES: Final = 0x7E02_0080
"""CLONE_NEW{TIME,NS,CGROUP,UTS,IPC,USER,PID,NET}."""

_OPENAT2: Final = 437
_SET_ID: Final = 0o6000
_CREATES: Final = 0o20000100
"""O_CREAT, and what O_TMPFILE has besides O_DIRECTORY."""

_TIOCSTI: Final = 0x5412
_TIOCLINUX: Final = 0x541C
_FAMILIES: Final = (17, 38, 40)
"""Sockets that reach around the network namespace or into rarely used code: packet, alg, vsock."""


class _Machine(Struct, frozen=True):
    """An architecture's audit number, its calls, and where foreign calls begin (x32).

    `modes` are calls with the place of a file mode among their arguments; `opens` calls with the
    place of their flags, which the mode follows.
    """

    audit: int
    refused: tuple[int, ...]
    clone: int
    clone3: int
    ioctl: int
    socket: int
    modes: tuple[tuple[int, int], ...]
    opens: tuple[tuple[int, int], ...]
    foreign: int | None = None


_MACHINES: Final = {
    "x86_64": _Machine(
        audit=0xC000_003E,
        refused=(
            *(103, 153, 154, 155, 159, 161, 163, 164, 165, 166, 167, 168, 169, 170, 171, 172, 173),
            *(175, 176, 179, 180, 212, 227, 246, 248, 249, 250, 272, 298, 300, 303, 304, 305),
            *(308, 312, 313, 320, 321, 323, 425, 426, 427, 428, 429, 430, 431, 432, 433, 438),
            *(442, 443),
        ),
        clone=56,
        clone3=435,
        ioctl=16,
        socket=41,
        modes=((90, 1), (91, 1), (268, 2), (452, 2), (85, 1), (133, 1), (259, 2)),
        opens=((2, 1), (257, 2)),
        foreign=0x4000_0000,
    ),
    "aarch64": _Machine(
        audit=0xC000_00B7,
        refused=(
            *(18, 39, 40, 41, 42, 51, 58, 60, 89, 97, 104, 105, 106, 112, 116, 142, 161, 162),
            *(170, 171, 217, 218, 219, 224, 225, 241, 262, 264, 265, 266, 268, 272, 273, 280),
            *(282, 294, 425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 442, 443),
        ),
        clone=220,
        clone3=435,
        ioctl=29,
        socket=198,
        modes=((52, 1), (53, 2), (452, 2), (33, 2)),
        opens=((56, 2),),
    ),
}


def program(machine: str | None = None) -> bytes | None:
    """The filter for `machine` (default: this one) as `struct sock_filter`s; None if unknown."""
    known = _MACHINES.get(machine or platform.machine())
    return b"".join(_instructions(known)) if known is not None else None


def _instructions(machine: _Machine) -> Iterator[bytes]:
    yield _op(_LOAD, _ARCH_AT)
    yield _op(_EQUAL, machine.audit, skip_if=1)
    yield _op(_RETURN, _KILL)
    yield _op(_LOAD, _NUMBER_AT)
    if machine.foreign is not None:
        yield _op(_AT_LEAST, machine.foreign, skip_unless=1)
        yield _op(_RETURN, _ERRNO | _ENOSYS)
    for number in machine.refused:
        yield _op(_EQUAL, number, skip_unless=1)
        yield _op(_RETURN, _ERRNO | _EPERM)
    # Their flags lie in memory, out of a filter's sight; without them libc takes clone and openat.
    for number in (machine.clone3, _OPENAT2):
        yield _op(_EQUAL, number, skip_unless=1)
        yield _op(_RETURN, _ERRNO | _ENOSYS)
    yield from _argument(machine.clone, 0, (_op(_ANY_BIT, _NEW_NAMESPACES, skip_unless=1),))
    for request in (_TIOCSTI, _TIOCLINUX):
        yield from _argument(machine.ioctl, 1, (_op(_EQUAL, request, skip_unless=1),))
    for family in _FAMILIES:
        yield from _argument(machine.socket, 0, (_op(_EQUAL, family, skip_unless=1),))
    for call, place in machine.modes:
        yield from _argument(call, place, (_op(_ANY_BIT, _SET_ID, skip_unless=1),))
    for call, flags in machine.opens:
        creates = (_op(_ANY_BIT, _CREATES, skip_unless=3), _op(_LOAD, _at(flags + 1)))
        yield from _argument(call, flags, (*creates, _op(_ANY_BIT, _SET_ID, skip_unless=1)))
    yield _op(_RETURN, _ALLOW)


def _argument(call: int, place: int, test: tuple[bytes, ...]) -> Iterator[bytes]:
    """Refuse `call` if its argument (the lower half) passes `test`, which may skip what follows."""
    body = (_op(_LOAD, _at(place)), *test, _op(_RETURN, _ERRNO | _EPERM), _op(_LOAD, _NUMBER_AT))
    yield _op(_EQUAL, call, skip_unless=len(body))
    yield from body


def _at(place: int) -> int:
    return _ARGUMENTS_AT + _ARGUMENT * place


def _op(code: int, value: int, *, skip_if: int = 0, skip_unless: int = 0) -> bytes:
    return struct.pack("=HBBI", code, skip_if, skip_unless, value)
