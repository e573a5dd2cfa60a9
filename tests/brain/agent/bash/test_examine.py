"""Bash commands and what is decided about them: the table the rules are held to."""

import os
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from september.brain.agent.bash.examine import examine
from september.brain.agent.bash.places import Places
from september.brain.agent.bash.syntax import MAX_SOURCE, Objection

TABLE = [
    tuple(line.replace("⏎", "\n").split("\t"))
    for line in Path(__file__).with_name("commands.tsv").read_text().splitlines()
    if line and not line.startswith("#")
]
"""Verdict, concern, command; from the table beside this file."""


def furnish(folder: Path) -> Path:
    """A workspace with a few files to lose."""
    (folder / "sub").mkdir(parents=True)
    (folder / "full.txt").write_text("content")
    (folder / "empty.txt").touch()
    (folder / "script.sh").write_text("echo hi\n")
    (folder / "bad.sh").write_text("rm -rf /etc\n")
    (folder / "cdroot.sh").write_text("cd /\n")
    (folder / "etc").symlink_to("/etc")
    return folder


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnish(tmp_path_factory.mktemp("permissions") / "workspace")


def verdict(command: str, workspace: Path) -> tuple[str, str]:
    """What is decided, and under which rule."""
    try:
        examine(command, Places((), workspace))
    except Objection as found:
        return "ask", found.concern
    return "allow", "-"


def objection(command: str, workspace: Path, *roots: Path) -> str | None:
    """Why the command needs permission; None if it does not."""
    try:
        examine(command, Places(roots, workspace))
    except Objection as found:
        return found.reason
    return None


@pytest.mark.parametrize(("expected", "concern", "command"), TABLE)
def test_every_command_of_the_table_is_decided_as_it_says(
    expected: str, concern: str, command: str, workspace: Path
) -> None:
    given = command.replace("{workspace}", str(workspace))
    assert verdict(given, workspace) == (expected, concern)


def test_the_table_is_large_enough_to_mean_something() -> None:
    verdicts = Counter(row[0] for row in TABLE)
    assert verdicts.keys() == {"ask", "allow"}
    assert verdicts["ask"] >= 300
    assert verdicts["allow"] >= 100
    assert len({row[2] for row in TABLE}) == len(TABLE)


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("rm -rf /etc", "it removes /etc, outside the allowed folders"),
        ("echo > full.txt", "which has content"),
        ("shred x", "destroys files beyond recovery"),
        ("chmod -R 777 .", "chmod recursively"),
        ("curl x | bash", "feeds commands to bash"),
        ("$CMD", "only known when it runs"),
        ("if", "not plain bash"),
    ],
)
def test_the_reason_says_what_would_happen(command: str, reason: str, workspace: Path) -> None:
    assert reason in (objection(command, workspace) or "")


def test_further_roots_are_as_free_as_the_workspace(workspace: Path, tmp_path: Path) -> None:
    command = f"rm -rf {tmp_path}/x && echo hi > {tmp_path}/new"
    assert objection(command, workspace)
    assert objection(command, workspace, tmp_path) is None


def test_a_link_out_of_the_workspace_leads_out(tmp_path: Path) -> None:
    workspace = furnish(tmp_path / "w")
    assert objection("rm -rf etc/passwd", workspace)
    assert objection("echo x > etc/new", workspace)
    assert objection("rm -rf */passwd", workspace)
    assert objection("cd etc && rm -rf x", workspace)
    assert objection("rm etc", workspace) is None, "removing the link itself is harmless"


def test_patterns_are_judged_by_what_they_match(tmp_path: Path) -> None:
    workspace = furnish(tmp_path / "w")
    assert objection("echo x > e*.txt", workspace) is None
    assert objection("echo x > *.txt", workspace)
    assert objection("rm -rf .*/../x", workspace)


def test_a_program_that_is_a_link_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    workspace = furnish(tmp_path / "w")
    os.symlink("/bin/rm", workspace / "tidy")
    assert objection("./tidy -rf /etc", workspace)
    assert objection("./tidy -rf sub", workspace) is None


def test_commands_nested_without_end_are_given_up_on(workspace: Path) -> None:
    nested = "ls"
    for _ in range(12):
        nested = f"bash -c {shlex.quote(nested)}"
        if len(nested) > 60_000:
            break
    assert objection(nested, workspace)
    assert objection("(" * 3000 + "ls" + ")" * 3000, workspace)
    assert objection("echo " + "x" * 100_000, workspace)
    assert objection("ls;" * 5000, workspace)


def test_what_cannot_be_seen_is_asked_about(workspace: Path) -> None:
    for hidden in ("\r", "\x1b", "\u200b", "\u202e", "\u00a0", "\u2003", "\x7f"):
        assert objection(f"echo a{hidden}b", workspace)
    assert objection("echo grüße 東京", workspace) is None


VICTIMS = [
    ["rm", "-rf", "/etc"],
    ["rm", "-r", "../outside"],
    ["shred", "full.txt"],
    ["chmod", "-R", "777", "sub"],
    ["chown", "--recursive", "me", "sub"],
    ["truncate", "-s", "0", "full.txt"],
    ["tee", "full.txt"],
    ["find", "/etc", "-delete"],
    ["cp", "empty.txt", "full.txt"],
    ["dd", "if=/dev/zero", "of=full.txt"],
]

quotings: list[Callable[[str], str]] = [
    lambda word: word,
    lambda word: f"'{word}'",
    lambda word: f'"{word}"',
    lambda word: "".join(f"\\{c}" for c in word),
    lambda word: "".join(f"'{c}'" for c in word),
    lambda word: f"{word[:1]}''{word[1:]}",
    lambda word: f'{word[:1]}""{word[1:]}',
    lambda word: "$'" + "".join(f"\\x{ord(c):02x}" for c in word) + "'",
    lambda word: "$'" + "".join(f"\\{ord(c):03o}" for c in word) + "'",
    lambda word: "$'" + "".join(f"\\u{ord(c):04x}" for c in word) + "'",
    lambda word: f"{word[:1]}\\\n{word[1:]}",
]

prefixes = [
    *("", "A=b ", "command ", "env ", "env -i A=b ", "nohup ", "nice -n 5 ", "nice -5 ", "time "),
    *("timeout 5 ", "timeout -k 1 5 ", "sudo ", "sudo -u bob ", "setsid ", "stdbuf -oL ", "exec "),
    *("busybox ", "xargs ", "xargs -n1 ", "flock x ", "strace -f ", "ionice -c2 ", "builtin "),
    *("find . -exec ", "> new.txt ", "2>&1 ", "! ", "/usr/bin/env ", "unshare -r ", "chroot . "),
]


@st.composite
def disguised(draw: st.DrawFn) -> str:
    """A dangerous command behind another command, each of its words quoted in some way."""
    words = draw(st.sampled_from(VICTIMS))
    quoted = (draw(st.sampled_from(quotings))(word) for word in words)
    return draw(st.sampled_from(prefixes)) + " ".join(quoted)


layers: list[Callable[[str], str]] = [
    lambda c: f"bash -c {shlex.quote(c)}",
    lambda c: f"sh -ec {shlex.quote(c)}",
    lambda c: f"eval {shlex.quote(c)}",
    lambda c: f"env bash -c {shlex.quote(c)}",
    lambda c: f"sudo -u bob bash -lc {shlex.quote(c)}",
    lambda c: f"timeout 9 sh -c {shlex.quote(c)}",
    lambda c: f"xargs -n1 bash -c {shlex.quote(c)}",
    lambda c: f"find . -name x -exec sh -c {shlex.quote(c)} \\;",
    lambda c: f"trap {shlex.quote(c)} EXIT",
    lambda c: f"su -c {shlex.quote(c)}",
    lambda c: f"watch {shlex.quote(c)}",
    lambda c: f"alias x={shlex.quote(c)}",
    lambda c: f"bash <<< {shlex.quote(c)}",
    lambda c: f"bash <<'END'\n{c}\nEND\n",
    lambda c: f"echo {shlex.quote(c)} | sh",
    lambda c: f"( {c}\n)",
    lambda c: f"{{ {c}\n}}",
    lambda c: f"echo $({c}\n)",
    lambda c: f'echo "a $({c}\n) b"',
    lambda c: f"x=$({c}\n)",
    lambda c: f"cat <({c}\n)",
    lambda c: f"echo ${{x:-$({c}\n)}}",
    lambda c: f"if true; then {c}\nfi",
    lambda c: f"if {c}\nthen ls; fi",
    lambda c: f"for i in 1 2; do {c}\ndone",
    lambda c: f"while {c}\ndo ls; done",
    lambda c: f"case x in *) {c}\n;; esac",
    lambda c: f"f() {{ {c}\n}}; f",
    lambda c: f"true && {c}",
    lambda c: f"cd sub || {c}",
    lambda c: f"ls; {c}",
    lambda c: f"ls | {c}",
    lambda c: f"{c} &",
    lambda c: f"# a comment\n{c}",
    lambda c: f"true && # a comment\n{c}",
    lambda c: f"ls | # a comment\n{c}",
    lambda c: f"true &&\n\n{c}",
    lambda c: f"cat <<END\n$({c}\n)\nEND\n",
    lambda c: f"[[ -n $({c}\n) ]]",
]


@settings(max_examples=1000, deadline=None)
@given(disguised(), st.lists(st.sampled_from(layers), max_size=4))
def test_no_wrapping_makes_a_dangerous_command_look_ordinary(
    furnished: Path, command: str, around: list[Callable[[str], str]]
) -> None:
    for layer in around:
        command = layer(command)
    assert objection(command, furnished), command


LONGEST_S = 2.0
"""One command is decided in milliseconds; this is for a machine that is busy."""


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(st.sampled_from("rm -f/etc'\"\\$(){}[]|&;<>\n#=*?~`! ab")))
def test_any_text_is_decided_in_bounded_time(furnished: Path, command: str) -> None:
    began = process_time()
    objection(command, furnished)
    assert process_time() - began < LONGEST_S


SWOLLEN = [
    *("{" * 5000, "[" * 5000, "$(" * 5000, "${x:-" * 3000, "(" * 5000, "`" * 5000, "<<A " * 2000),
    *("{a,b}" * 20, "{a,{b,{c,d}}}" * 9, "a=" * 9000, "'\"" * 9000, "\\" * 60_000, "*" * 60_000),
    *("if " * 9000, "x() { " * 3000, "case x in " * 3000, "a|" * 30_000, "rm * " * 9000),
    *(
        "bash -c 'bash -c \\'" * 2000,
        "echo " + "*/" * 500,
        "cd ..; " * 2000,
        "find . -exec " * 3000,
    ),
    *("xargs " * 9000, "env " * 9000, "timeout 1 " * 6000, "sudo " * 12_000, "flock x " * 8000),
    *("$((" * 9000, "a[" * 9000, "#\n" * 30_000, "\\\n" * 30_000, "eval " * 12_000, "!" * 60_000),
]
"""Texts made to take long."""


@pytest.mark.parametrize("command", SWOLLEN, ids=lambda text: text[:12])
def test_no_text_makes_it_take_long(furnished: Path, command: str) -> None:
    began = process_time()
    objection(command, furnished)
    objection(command[: MAX_SOURCE - 1], furnished)
    assert process_time() - began < LONGEST_S


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return furnish(tmp_path_factory.mktemp("wrapped") / "workspace")
