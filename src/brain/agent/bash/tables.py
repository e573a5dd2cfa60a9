"""What commands do, as data: which destroy, which overwrite, which run other commands."""

import re
from typing import Final

from msgspec import Struct

from ..concern import Concern

ALWAYS: Final[dict[str, str]] = {
    **dict.fromkeys(("shred", "wipe", "srm", "scrub"), "destroys files beyond recovery"),
    **dict.fromkeys(
        ("wipefs", "blkdiscard", "mkswap", "fdisk", "sfdisk", "cfdisk", "parted", "hdparm"),
        "changes disks",
    ),
    **dict.fromkeys(("mount", "umount", "swapoff", "losetup", "pivot_root"), "changes mounts"),
    **dict.fromkeys(
        ("shutdown", "reboot", "halt", "poweroff", "init", "telinit", "systemctl", "service"),
        "changes the machine's state",
    ),
    **dict.fromkeys(("insmod", "rmmod", "modprobe", "sysctl"), "changes the kernel"),
    **dict.fromkeys(("crontab", "at", "batch"), "runs something later"),
    **dict.fromkeys(("enable", "bind", "complete", "compgen"), "changes what names mean"),
    **dict.fromkeys(("fish", "csh", "tcsh"), "is a shell whose language is not read here"),
    **dict.fromkeys(
        ("vi", "vim", "nvim", "view", "ex", "ed", "emacs", "nano", "expect", "gdb", "lldb"),
        "can run commands that are not to be seen here",
    ),
    **dict.fromkeys(("nc", "ncat", "netcat", "socat", "telnet"), "opens network connections"),
}
"""Commands that always need permission when they are given anything to do."""

CONCERNS: Final[dict[str, Concern]] = {
    ALWAYS["shred"]: Concern.DESTROYS,
    ALWAYS["fdisk"]: Concern.DESTROYS,
    "makes a file system": Concern.DESTROYS,
    ALWAYS["nc"]: Concern.NETWORK,
}
"""Which rule of the contract those fall under; the others are simply unclear."""

REMOVERS: Final = frozenset({"rm", "rmdir", "unlink"})
MODES: Final = frozenset({"chmod", "chown", "chgrp", "chattr", "setfacl", "chcon"})
COPIERS: Final = frozenset({"cp", "mv", "install", "ln", "rsync", "scp"})
WRITERS: Final = frozenset({"tee", "sponge", "truncate"})

OUTPUT_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "curl": ("-o", "--output", "-D", "--dump-header", "-c", "--cookie-jar", "--trace"),
    "sort": ("-o", "--output"),
    "wget": ("-O", "--output-document", "-o", "--output-file", "-a"),
    "git": ("--output",),
    "patch": ("-o", "--output", "-r"),
    **dict.fromkeys(("strace", "ltrace", "perf", "time"), ("-o", "--output")),
}
"""Options whose value is a file that is overwritten."""

RUNNING_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "tar": (
        *("--to-command", "--checkpoint-action", "--use-compress-program", "--rsh-command"),
        *("-I", "-F", "--info-script", "--new-volume-script"),
    ),
    "zip": ("-TT", "--unzip-command"),
    "rsync": ("-e", "--rsh", "--rsync-path", "--delete", "--remove-source-files"),
    "scp": ("-S", "-o"),
    "sort": ("--compress-program",),
    "split": ("--filter",),
    "hash": ("-p",),
    "make": ("--eval", "-f-", "SHELL="),
    "gmake": ("--eval", "-f-", "SHELL="),
    "man": ("-P", "--pager", "-H"),
    "less": ("+!", "+|"),
    "mapfile": ("-C",),
    "readarray": ("-C",),
    "tcpdump": ("-z",),
    "rg": ("--pre", "--hostname-bin"),
    "fd": ("-x", "-X", "--exec", "--exec-batch"),
    "fdfind": ("-x", "-X", "--exec", "--exec-batch"),
    "pip": ("--editor",),
    "wget": ("--use-askpass",),
}
"""Options that make an ordinary command run another one, or remove files."""


class Wrapper(Struct, frozen=True):
    """A command that runs the command behind its own options.

    `flags` and `valued` are the options known to take no value and one; `operands` is how many
    words stand before the command. Any other option: every tail of the words is looked at.
    """

    flags: frozenset[str] = frozenset()
    valued: frozenset[str] = frozenset()
    operands: int = 0


def _wrapper(flags: str = "", valued: str = "", operands: int = 0) -> Wrapper:
    return Wrapper(frozenset(flags.split()), frozenset(valued.split()), operands)


WRAPPERS: Final[dict[str, Wrapper]] = {
    "builtin": _wrapper(),
    "chrt": _wrapper("-b -f -o -r", operands=1),
    "command": _wrapper("-p"),
    "coproc": _wrapper(),
    "doas": _wrapper("-n", "-u"),
    "env": _wrapper("-i - -0 --ignore-environment", "-u --unset"),
    "exec": _wrapper("-c -l", "-a"),
    "ionice": _wrapper("-t", "-c -n"),
    "nice": _wrapper("", "-n --adjustment"),
    "nohup": _wrapper(),
    "setsid": _wrapper("-c -f -w --fork --wait --ctty"),
    "stdbuf": _wrapper("", "-i -o -e"),
    "sudo": _wrapper("-n -E -H -b -S", "-u -g"),
    "taskset": _wrapper("-c", operands=1),
    "time": _wrapper("-p -v", "-f -o"),
    "timeout": _wrapper(
        "--foreground --preserve-status -v --verbose", "-k --kill-after -s --signal", 1
    ),
    "xargs": _wrapper(
        "-0 --null -r --no-run-if-empty -t --verbose -x -o",
        "-n --max-args -P --max-procs -L --max-lines -s -d --delimiter -a --arg-file -E",
    ),
}
"""Commands that run another, with the options they are known to have."""

UNREAD: Final = frozenset(
    "arch busybox chroot conda dbus-run-session docker entr fakeroot faketime firejail flock bwrap"
    " ltrace nsenter npx parallel pipenv pkexec podman poetry proot runuser script setarch ssh"
    " strace su systemd-run toybox unshare uv uvx watch xvfb-run valgrind linux32 linux64 perf"
    " rlwrap unbuffer chronic ts torsocks proxychains pipx bunx".split()
)
"""Wrappers whose options are not known: every tail of their words is looked at."""

SSH_RUNS: Final = re.compile(r"(?:-o)?\s*(?:proxy|local|remote|knownhosts)command\b", re.IGNORECASE)
"""Settings of ssh that run a command on this side, or more than the words say on the other."""

SHELLS: Final = frozenset("sh bash dash zsh ksh mksh ash rbash".split())


class Interpreter(Struct, frozen=True):
    """A language's interpreter: `code` are the options whose value is a program."""

    code: frozenset[str]
    valued: frozenset[str] = frozenset()


INTERPRETERS: Final[dict[str, Interpreter]] = {
    "python": Interpreter(frozenset({"-c"}), frozenset({"-W", "-X", "-m"})),
    "pypy": Interpreter(frozenset({"-c"}), frozenset({"-W", "-X", "-m"})),
    "perl": Interpreter(frozenset({"-e", "-E"}), frozenset({"-I", "-M", "-m"})),
    "ruby": Interpreter(frozenset({"-e"}), frozenset({"-I", "-r"})),
    "node": Interpreter(frozenset({"-e", "--eval", "-p", "--print"}), frozenset({"-r"})),
    "nodejs": Interpreter(frozenset({"-e", "--eval", "-p", "--print"}), frozenset({"-r"})),
    "deno": Interpreter(frozenset({"eval"})),
    "bun": Interpreter(frozenset({"-e", "--eval"})),
    "php": Interpreter(frozenset({"-r", "-B", "-R", "-E"}), frozenset({"-d"})),
    "lua": Interpreter(frozenset({"-e"}), frozenset({"-l"})),
    "luajit": Interpreter(frozenset({"-e"}), frozenset({"-l"})),
    "tclsh": Interpreter(frozenset()),
    "Rscript": Interpreter(frozenset({"-e"})),
    "osascript": Interpreter(frozenset({"-e"})),
    "guile": Interpreter(frozenset({"-c"})),
    "elixir": Interpreter(frozenset({"-e"})),
}

DESTRUCTIVE_CODE: Final = re.compile(
    r"rmtree|unlink|\bremove|rmdir|\bsystem\b|subprocess|popen|\bexec|spawn|child_process|"
    r"chmod|chown|shred|truncate|\brm\b|__import__|\beval\b|\bcompile\b|importlib|\bpty\b|ctypes|"
    r"b64decode|base64|codecs|fromhex|unpack|\bchr\b|File\.delete|FileUtils|rimraf|rmSync|"
    r"writeFile|`|\bqx|%x|getattr|globals|builtins|\\x|\\u|\\[0-7]{2}|Deno\.|Bun\.|require\(\s*['\"]"
    r"(?:node:)?(?:fs|os)",
    re.IGNORECASE,
)
"""Words of a program in another language that make it worth a look."""

AWKS: Final = frozenset({"awk", "gawk", "mawk", "nawk", "original-awk"})
AWK_CODE: Final = re.compile(
    r"\bsystem\b|\bgetline\b|\|\s*&?\s*\"|\"\s*\||print[^}\n]*[|>]|printf[^}\n]*[|>]|@"
)
"""Parts of an awk program that run a command or write a file."""

SED_CODE: Final = re.compile(
    r"(?:^|[;{}\n]|(?<=[0-9$/!,+~\s]))[ \t]*[ewW](?:[ \t]|$)"
    r"|s(?P<d>[^\w\s\\])(?:\\.|(?!(?P=d)).)*(?P=d)(?:\\.|(?!(?P=d)).)*(?P=d)[a-zA-Z0-9]*[ewW]"
)
"""Commands of sed that run a command or write a file."""

GIT_READS: Final = frozenset(
    "status log diff show branch blame shortlog describe rev-parse rev-list ls-files ls-tree"
    " cat-file reflog tag remote stash grep config version help".split()
)
GIT_RUNS: Final = frozenset(
    "submodule bisect rebase filter-branch difftool mergetool for-each-repo".split()
)
GIT_DESTROYS: Final = frozenset({"clean", "rm", "reset", "checkout", "restore"})
GIT_TAKES_VALUE: Final = frozenset({"--git-dir", "--work-tree", "--namespace", "--super-prefix"})
GIT_RUNNING_OPTIONS: Final = (
    *("ext::", "--upload-pack", "--receive-pack", "--exec", "--open-files-in-pager", "--ext-diff"),
    *("--extcmd", "--tool", "--run"),
)
GIT_HARMLESS_SETTINGS: Final = ("user.", "color.", "init.", "advice.", "core.quotepath", "log.")

FIND_DELETES: Final = frozenset({"-delete"})
FIND_RUNS: Final = frozenset({"-exec", "-ok"})
FIND_RUNS_THERE: Final = frozenset({"-execdir", "-okdir"})
FIND_WRITES: Final = frozenset({"-fprint", "-fprint0", "-fls", "-fprintf"})
FIND_VALUED: Final = frozenset(
    "-name -iname -path -ipath -wholename -iwholename -regex -iregex -type -xtype -size -mtime"
    " -atime -ctime -mmin -amin -cmin -newer -anewer -cnewer -user -group -uid -gid -perm -links"
    " -inum -samefile -maxdepth -mindepth -printf -lname -ilname -fstype -used -context"
    " -regextype".split()
)

IN_THIS_SHELL: Final = frozenset("eval source . command builtin trap alias coproc exec".split())
"""Commands whose commands can change the folder for all that follows."""

UNSETTLING: Final = frozenset({"lastpipe", "expand_aliases", "extglob", "globstar", "extdebug"})
"""Shell options under which a script means something else than what is read here."""

KEYWORDS: Final = frozenset(
    "{ } ! [[ ]] if then elif else fi for while until do done case esac select function in".split()
)
"""Words that are no commands; as the name of one they stand for a construct that was not seen."""

EVALUATES: Final = frozenset(
    "let test [ declare typeset local export readonly read printf unset mapfile readarray getopts"
    " return exit shift wait".split()
)
"""Builtins that evaluate arithmetic or subscripts, and with them the commands inside, or that set
variables."""

BUILTINS: Final = frozenset(
    ": . [ alias bg break caller cd continue declare dirs disown echo eval exit export false fc fg"
    " getopts help history jobs kill let local logout mapfile popd printf pushd pwd read readarray"
    " readonly return set shift shopt source suspend test times trap true type typeset ulimit umask"
    " unalias unset wait".split()
)
"""Names that a function must not take over."""
