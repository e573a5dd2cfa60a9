"""The seccomp filter: what it refuses from inside, and what it leaves alone."""

import platform
from pathlib import Path

import pytest

from september.actors import ActorRef
from september.actors.testing import running
from september.brain.sandbox.sandbox import RunCommand, Sandbox, SandboxMessage, run_command

CALL = """
import ctypes, errno, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
result = libc.syscall(*[ctypes.c_long(int(one, 0)) for one in sys.argv[1:]])
print(result if result >= 0 else errno.errorcode[ctypes.get_errno()])
"""

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the numbers below are those of x86_64"
)

REFUSED = {
    "mount": "165 0 0 0 0 0",
    "umount2": "166 0 0",
    "pivot_root": "155 0 0",
    "chroot": "161 0",
    "unshare a user namespace": "272 0x10000000",
    "unshare nothing": "272 0",
    "setns": "308 0 0",
    "init_module": "175 0 0 0",
    "finit_module": "313 0 0 0",
    "delete_module": "176 0 0",
    "kexec_load": "246 0 0 0 0",
    "kexec_file_load": "320 0 0 0 0 0",
    "bpf": "321 0 0 0",
    "perf_event_open": "298 0 0 0 0 0",
    "userfaultfd": "323 0",
    "add_key": "248 0 0 0 0 0",
    "request_key": "249 0 0 0 0",
    "keyctl": "250 0 0 0 0 0",
    "io_uring_setup": "425 1 0",
    "io_uring_enter": "426 0 0 0 0 0 0",
    "open_tree": "428 0 0 0",
    "move_mount": "429 0 0 0 0 0",
    "fsopen": "430 0 0",
    "fsmount": "432 0 0 0",
    "mount_setattr": "442 0 0 0 0 0",
    "open_by_handle_at": "304 0 0 0",
    "name_to_handle_at": "303 0 0 0 0 0",
    "pidfd_getfd": "438 0 0 0",
    "reboot": "169 0 0 0 0",
    "swapon": "167 0 0",
    "sethostname": "170 0 0",
    "clock_settime": "227 0 0",
    "syslog": "103 3 0 0",
    "iopl": "172 3",
    "modify_ldt": "154 0 0 0",
    "fanotify_init": "300 0 0",
    "kcmp": "312 0 0 0 0 0",
    "clone a user namespace": "56 0x10000011 0 0 0 0",
    "clone a network namespace": "56 0x40000011 0 0 0 0",
    "clone a mount namespace": "56 0x00020011 0 0 0 0",
    "type into the terminal (TIOCSTI)": "16 0 0x5412 0",
    "paste into the console (TIOCLINUX)": "16 0 0x541C 0",
    "TIOCSTI with upper bits set": "16 0 0x100005412 0",
    "make a descriptor's file setuid": "91 0 0o4755",
    "make a file setgid": "90 0 0o2755",
    "make a file setuid by its folder": "268 -100 0 0o4755",
    "the same, with flags": "452 -100 0 0o4755 0",
    "create a setuid file": "257 -100 0 0o100 0o4755",
    "create a setuid file the old way": "2 0 0o101 0o6755",
    "create a nameless setuid file": "257 -100 0 0o20200000 0o4755",
    "mknod a setuid file": "133 0 0o104755 0",
    "a packet socket": "41 17 3 0",
    "a kernel crypto socket": "41 38 5 0",
    "a vsock socket": "41 40 1 0",
}
"""Calls of x86_64 by number, with their arguments."""


async def test_the_filter_refuses_every_call_on_the_list(workspace: Path) -> None:
    (workspace / "call.py").write_text(CALL)
    lines = [f"/usr/bin/python3 call.py {numbers}" for numbers in REFUSED.values()]
    async with running(Sandbox()) as sandbox:
        result = await _run(sandbox, workspace, "\n".join(lines))
    answers = dict(zip(REFUSED, result.split("\n"), strict=False))
    assert {name: answer for name, answer in answers.items() if answer != "EPERM"} == {}
    assert answers.keys() == REFUSED.keys()


async def test_clone3_and_foreign_calls_do_not_exist(workspace: Path) -> None:
    (workspace / "call.py").write_text(CALL)
    calls = ("435 0 0", "437 -100 0 0 0", "0x40000001 1 0 0")
    async with running(Sandbox()) as sandbox:
        result = await _run(
            sandbox, workspace, "\n".join(f"/usr/bin/python3 call.py {one}" for one in calls)
        )
    assert result.split() == ["ENOSYS"] * 3


async def test_ordinary_programs_do_not_notice(workspace: Path) -> None:
    command = (
        "/usr/bin/python3 -c 'import os, threading, subprocess, socket, multiprocessing as m\n"
        't = threading.Thread(target=print, args=("thread",)); t.start(); t.join()\n'
        'print(subprocess.run(["echo", "child"], capture_output=True, text=True).stdout.strip())\n'
        'open("mine", "w").close(); os.chmod("mine", 0o1755); os.open("mine", 0, 0o7777)\n'
        'a, b = socket.socketpair(); a.send(b"s"); print(b.recv(1).decode())\' && git --version'
    )
    async with running(Sandbox()) as sandbox:
        result = await _run(sandbox, workspace, command)
    assert result.split("\n")[:3] == ["thread", "child", "s"]
    assert "git version" in result


async def test_the_filter_is_in_force_and_cannot_be_taken_off(workspace: Path) -> None:
    async with running(Sandbox()) as sandbox:
        result = await _run(
            sandbox, workspace, "grep -E '^(Seccomp|NoNewPrivs):' /proc/self/status"
        )
    assert result.split() == ["NoNewPrivs:", "1", "Seccomp:", "2"]


async def _run(sandbox: ActorRef[SandboxMessage], workspace: Path, command: str) -> str:
    result = await run_command(sandbox, RunCommand(command, workspace, ()))
    return result.output.strip()
