"""The examiner against bash itself: whatever bash would run, the examiner has seen.

Scripts are generated and run by a real bash that finds no program at all, so that it hands every
command, with the words it made, to a function that notes them. The examiner reads the same
script. Either it objects, or every noted command is one that it looked at.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from september.brain.agent.bash.examine import Examiner
from september.brain.agent.bash.places import Here, Places
from september.brain.agent.bash.syntax import Objection
from september.brain.agent.bash.words import Word

NOTE = "() { local IFS=$'\\37'; printf '%s\\36' \"$*\" >&$NOTES; }"
"""What bash calls instead of a command that it does not find."""

plain = st.sampled_from(["a", "b", "-r", "x.txt", "sub/y", "--z=1", "..", "a=b", "7", "#no", "%"])
words = st.recursive(
    plain
    | st.sampled_from(["$V", '"$V"', "${V:-d}", "$((1+2))", "*.txt", "x?", "[ab]", "{a,b}", "~"])
    | st.sampled_from(
        ["'q r'", '"q r"', "q\\ r", "$'\\x61'", "''", '""', "'*'", "\\#", "a#b", "\\$V"]
    )
    | st.sampled_from(
        ["{1..3}", "{a}", "!x", "a\\\nb", '"a\\"b"', "$'a\\'b'", "@(a|b)", "x{a,b}y"]
    ),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        inner.map(lambda word: f"$(alpha {word})"),
        inner.map(lambda word: f'"$(beta {word})"'),
        inner.map(lambda word: f"`alpha {word}`"),
        inner.map(lambda word: f"${{V:-{word}}}"),
        inner.map(lambda word: f"<(gamma {word})"),
    ),
    max_leaves=3,
)
names = st.sampled_from(
    ["alpha", "beta", "gamma", "al'p'ha", '"beta"', "gam\\ma", "$'\\x61lpha'", "rm", "tee", "find"]
)
redirects = st.sampled_from(
    ["", "", "", " >/dev/null", " 2>&1", " </dev/null", " <<<word", " 2>/dev/null >&2", " >&2"]
)


@st.composite
def simple(draw: st.DrawFn) -> str:
    """A command with words, assignments and redirections, in any order that bash takes."""
    assignments = draw(st.sampled_from(["", "", "", "A=1 ", "A=$(alpha x) B=2 "]))
    first = draw(st.sampled_from(["", "", "", ">/dev/null ", "</dev/null "]))
    arguments = " ".join(draw(st.lists(words, max_size=4)))
    return f"{assignments}{first}{draw(names)} {arguments}{draw(redirects)}"


def compound(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Constructs around scripts."""
    pair = st.tuples(inner, inner)
    return st.one_of(
        st.tuples(
            inner, st.sampled_from(["; ", "\n", " && ", " || ", " | ", " & ", " |& "]), inner
        ).map("".join),
        inner.map(lambda one: f"( {one}\n)"),
        inner.map(lambda one: f"{{ {one}\n}}"),
        inner.map(lambda one: f"! {{ {one}\n}}"),
        pair.map(lambda two: f"if {two[0]}\nthen {two[1]}\nelse {two[1]}\nfi"),
        inner.map(lambda one: f"for i in 1 2; do {one}\ndone"),
        inner.map(lambda one: f"while {one}\nfalse; do :; done"),
        inner.map(lambda one: f"case a in (b) ;; a) {one}\n;; esac"),
        inner.map(lambda one: f"f() {{ {one}\n}}; f x"),
        inner.map(lambda one: f"cat <<END\n$({one}\n)\nEND\n"),
        inner.map(lambda one: f"alpha <<'END'\n{one}\nEND\n"),
        inner.map(lambda one: f"# a comment\n{one} # and another"),
        inner.map(lambda one: f"alpha \\\n  $({one}\n)"),
        inner.map(lambda one: f"[[ -n $({one}\n) ]]"),
        inner.map(lambda one: f"X=$({one}\n)"),
        inner.map(lambda one: f"cat <({one}\n)"),
        inner.map(lambda one: f"{{ {one}\n}} >/dev/null 2>&1"),
    )


scripts = st.recursive(simple(), compound, max_leaves=5)


class Watched(Examiner):
    """Notes every command that it looks at."""

    def __init__(self, places: Places) -> None:
        super().__init__(places)
        self.seen: list[tuple[Word, ...]] = []

    def run(self, words: Sequence[Word], here: Here, **more: Any) -> None:
        self.seen.append(tuple(words))
        super().run(words, here, **more)


def ran(script: str, folder: Path) -> list[list[str]]:
    """The commands that bash came to, with their words."""
    reads, writes = os.pipe()
    handler = {"BASH_FUNC_command_not_found_handle%%": NOTE, "NOTES": str(writes)}
    env = {"PATH": "/nonexistent", "V": "v w", **handler}
    try:
        subprocess.run(
            ["/bin/bash", "--norc", "--noprofile", "-c", script],
            env=env, cwd=folder, pass_fds=(writes,), timeout=20, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    finally:
        os.close(writes)
    with os.fdopen(reads, "rb") as notes:
        records = notes.read().decode().split("\36")[:-1]
    return [record.split("\37") for record in records]


def covers(seen: Sequence[Word], argv: Sequence[str]) -> bool:
    """Whether these words may have become those: unknown ones may be anything, or several."""
    if not seen:
        return not argv
    word, rest = seen[0], seen[1:]
    if word.text is not None and word.pattern is None:
        return bool(argv) and argv[0] == word.text and covers(rest, argv[1:])
    if word.splits:
        return any(covers(rest, argv[taken:]) for taken in range(len(argv) + 1))
    return bool(argv) and argv[0].startswith(word.prefix) and covers(rest, argv[1:])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("differential")
    for name in ("x.txt", "xa", "a"):
        (made / name).touch()
    return made


@settings(max_examples=400, deadline=None)
@given(scripts)
def test_whatever_bash_runs_was_looked_at(folder: Path, script: str) -> None:
    examiner = Watched(Places((), folder))
    try:
        examiner.examine(script)
    except Objection:
        return
    for argv in ran(script, folder):
        assert any(covers(words, argv) for words in examiner.seen), (argv, script)


def test_most_of_what_is_generated_is_understood(folder: Path) -> None:
    """Else the comparison would be of nothing: a share that is objected to tells nothing."""
    understood = 0

    @settings(max_examples=200, deadline=None, database=None, derandomize=True)
    @given(scripts)
    def count(script: str) -> None:
        nonlocal understood
        examiner = Watched(Places((), folder))
        try:
            examiner.examine(script)
        except Objection:
            return
        understood += 1

    count()
    assert understood >= 60


def test_a_command_that_is_overlooked_would_be_noticed(folder: Path) -> None:
    assert ran("alpha 'b c'; $(beta)", folder) == [["alpha", "b c"], ["beta"]]
    assert not covers((Word("alpha"),), ["alpha", "b c"])
    assert covers((Word("alpha"), Word(None, splits=True)), ["alpha", "b", "c"])
