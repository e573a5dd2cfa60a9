"""Rules for programs in other languages that stand on a command line, and for git."""

from collections.abc import Iterator
from typing import Final

from msgspec.structs import replace

from . import tables
from .call import Call, Rule
from .running import tails
from .syntax import Objection
from .words import Word, literal


def interpreter(call: Call) -> None:
    """python, perl, node …: a program given as an argument or fed to it is looked at.

    A program in a file is like any other program: the sandbox confines it.
    """
    language = tables.INTERPRETERS[call.name]
    place, given = 0, False
    while place < len(call.args):
        text = call.args[place].text
        if text is None:
            raise Objection(f"{call.name} gets {call.args[place].shown}, only known when it runs")
        if text[:2] in language.valued or text == "-m":
            if text.startswith("-m"):
                return
            place += 1 + (len(text) == 2)
            continue
        attached = _code_option(text, language.code)
        if attached is not None:
            given = True
            _look(call, literal(attached) if attached else _next(call, place))
            place += 1 + (not attached)
        elif text.startswith("-") and text != "-":
            place += 1
        else:
            if not given and (text == "-" or text.startswith(("/dev/", "/proc/"))):
                _look_at_input(call)
            return
    if not given:
        _look_at_input(call)


def _next(call: Call, place: int) -> Word:
    return call.args[place + 1] if place + 1 < len(call.args) else literal("")


def _code_option(text: str, options: frozenset[str]) -> str | None:
    """Code attached to the option, "" if the next word is code, None if this is no code option."""
    if text in options:
        return ""
    name, equals, value = text.partition("=")
    if equals and name in options:
        return value
    if len(text) > 1 and text[0] == "-" and text[1] != "-":
        for place, letter in enumerate(text[1:], start=1):
            if f"-{letter}" in options:
                return text[place + 1 :]
    return None


def _look(call: Call, code: Word) -> None:
    if code.text is None:
        raise Objection(f"{call.name} runs {code.shown}, only known when it runs")
    found = tables.DESTRUCTIVE_CODE.search(code.text)
    if found is not None:
        raise Objection(f"its {call.name} program may remove or run things ({found.group()})")


def _look_at_input(call: Call) -> None:
    if call.texts:
        for text in call.texts:
            _look(call, Word(text))
    elif call.fed:
        raise Objection(f"it feeds a program to {call.name} that is only known when it runs")


def _script_is_input(call: Call) -> bool:
    """Whether -f names the input instead of a file."""
    texts = [word.text or "" for word in call.args]
    return any(text in ("-", "-f-") or text.startswith(("/dev/std", "/dev/fd")) for text in texts)


def awk(call: Call) -> None:
    """awk: a program that runs commands or writes files."""
    if call.has("f", "file") and _script_is_input(call):
        _look_at_input(call)
    for word in _awk_program(call.args):
        if word.text is None:
            raise Objection(f"{call.name} runs {word.shown}, only known when it runs")
        if tables.AWK_CODE.search(word.text):
            raise Objection(f"its {call.name} program may run a command or write a file")


def _awk_program(args: tuple[Word, ...]) -> Iterator[Word]:
    """The words that may be the program: all up to the first operand, but the options' values."""
    place = 0
    while place < len(args):
        text = args[place].prefix
        yield args[place]
        if not text.startswith("-"):
            return
        place += 2 if text in ("-F", "-v") else 1


def sed(call: Call) -> None:
    """sed: a script that runs commands or writes files, and what it edits in place."""
    for text in call.known():
        if tables.SED_CODE.search(text):
            raise Objection("its sed script may run a command or write a file")
    if call.has("f", "file") and _script_is_input(call):
        _look_at_input(call)
    if call.has("i", "in-place"):
        for target in call.operands():
            call.judge.writes(target, call.here, truncates=False)


def git(call: Call) -> None:
    """git: its own settings and some of its commands run others."""
    place = _git_options(call)
    rest = call.args[place:]
    if not rest:
        return
    sub = rest[0].text
    if sub is None:
        raise Objection(f"git gets {rest[0].shown}, only known when it runs")
    if sub == "config":
        _git_config(rest[1:])
    elif sub in tables.GIT_RUNS:
        tails(replace(call, args=rest[1:]))
    elif sub in tables.GIT_DESTROYS:
        _git_place(call)
    for text in call.literals():
        if text.startswith(tables.GIT_RUNNING_OPTIONS):
            raise Objection(f"git may run another program ({text})")


def _git_options(call: Call) -> int:
    """Judge what stands before git's own command; return where that is."""
    place = 0
    while place < len(call.args):
        word = call.args[place]
        text = word.text
        if text is None:
            raise Objection(f"git gets {word.shown}, only known when it runs")
        if not text.startswith("-"):
            break
        if text == "-c":
            _git_setting(_next(call, place))
        elif text == "-C":
            _git_elsewhere(call, _next(call, place), call.args[place + 2 :])
        elif text.startswith(("--git-dir=", "--work-tree=")):
            _git_elsewhere(call, literal(text.partition("=")[2]), call.args[place + 1 :])
        elif text.startswith(("--exec-path=", "--config-env")) or text in tables.GIT_TAKES_VALUE:
            raise Objection(f"git is started in an unusual way ({text})")
        place += 2 if text in ("-c", "-C") else 1
    return place


def _git_setting(word: Word) -> None:
    if not word.prefix.lower().startswith(tables.GIT_HARMLESS_SETTINGS):
        raise Objection(f"git gets the setting {word.shown}, which may run a program")


def _git_elsewhere(call: Call, folder: Word, rest: tuple[Word, ...]) -> None:
    """Only reading is free outside the roots."""
    sub = next((w.text for w in rest if not w.prefix.startswith("-")), None)
    if sub in tables.GIT_READS:
        return
    for path in call.judge.places.targets(folder, call.here):
        if not call.judge.places.contains(path):
            raise Objection(f"git works in {path}, outside the allowed folders")


def _git_config(args: tuple[Word, ...]) -> None:
    reads = any((w.text or "").startswith(("--get", "--list", "-l")) for w in args)
    operands = [word for word in args if not word.prefix.startswith("-")]
    if not reads and len(operands) > 1:
        _git_setting(operands[0])


def _git_place(call: Call) -> None:
    places = call.judge.places
    if call.here is None or not all(places.contains(path) for path in call.here):
        raise Objection("git discards changes in a folder that is not clear or not allowed")


PROGRAMS: Final[dict[str, Rule]] = {
    **dict.fromkeys(tables.INTERPRETERS, interpreter),
    **dict.fromkeys(tables.AWKS, awk),
    "sed": sed,
    "git": git,
}
