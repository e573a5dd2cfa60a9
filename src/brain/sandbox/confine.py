"""The last step inside the sandbox: limits and Landlock rules for good, then the command.

A program of its own: `python -I -S -c <this text> <terms> <rules> -- <command>`. It runs before
every command, so it imports little: what parses JSON or knows types would double its time.
Landlock is set here because under its rules nobody may mount, bubblewrap neither.

Terms are three numbers with colons between: how many processes, the rights that Landlock is to
handle (none: no Landlock), its scopes. A rule is `<rights>:<path>`. Landlock wants to know that no
privileges can be gained (PR_SET_NO_NEW_PRIVS): bubblewrap has seen to that.
"""

import ctypes
import os
import resource
import sys

_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
"""System calls; these numbers are the same on every architecture."""

_PATH_BENEATH = 1
_OF_FILES = 0b1 | 0b10 | 0b100 | 1 << 14 | 1 << 15
"""Rights that a single file can have: execute, write, read, truncate, ioctl of a device."""


class Refused(Exception):
    """The kernel did not do its part, so the command must not run."""


def main() -> None:
    """Accept the terms and become the command."""
    place = sys.argv.index("--")
    terms, rules, command = sys.argv[1], sys.argv[2:place], sys.argv[place + 1 :]
    processes, handled, scoped = map(int, terms.split(":"))
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))
    if handled:
        _restrict(handled, scoped, rules)
    try:
        os.execvp(command[0], command)
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        why = "command not found" if missing else error.strerror
        sys.stderr.write(f"{command[0]}: {why}\n")
        sys.exit(127)


def _restrict(handled: int, scoped: int, rules: "list[str]") -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    # struct landlock_ruleset_attr: what is handled of files, of the network, what is scoped.
    attributes = b"".join(n.to_bytes(8, sys.byteorder) for n in (handled, 0, scoped))
    ruleset = _call(libc, _CREATE_RULESET, attributes, len(attributes), 0)
    for rule in rules:
        rights, _, path = rule.partition(":")
        _allow(libc, ruleset, path, int(rights))
    _call(libc, _RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        beneath = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not there, or not to be seen
    granted = rights if os.path.isdir(path) else rights & _OF_FILES
    # struct landlock_path_beneath_attr, packed: rights, descriptor.
    rule = granted.to_bytes(8, sys.byteorder) + beneath.to_bytes(4, sys.byteorder)
    _call(libc, _ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    os.close(beneath)


def _call(libc: ctypes.CDLL, number: int, *arguments: "int | bytes") -> int:
    converted = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = int(libc.syscall(ctypes.c_long(number), *converted))
    if result < 0:
        raise Refused(f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result


if __name__ == "__main__":
    main()
