"""Rules for commands that remove, overwrite or open up files."""

from collections.abc import Iterator
from typing import Final

from ..concern import Concern
from . import tables
from .call import Call, Rule, is_short
from .syntax import Objection
from .words import Word, literal


def remove(call: Call) -> None:
    """rm, rmdir, unlink."""
    call.known()
    if call.has("", "no-preserve-root"):
        raise Objection("it removes without protecting the root folder", Concern.REMOVES_OUTSIDE)
    for target in call.operands():
        call.judge.removes(target, call.here)


def mode(call: Call) -> None:
    """chmod, chown and their kin: recursively they need permission wherever it is."""
    call.known()
    if call.has("R", "recursive"):
        raise Objection(f"it runs {call.name} recursively", Concern.OPENS_UP)
    for target in call.operands():
        call.judge.writes(target, call.here, truncates=False)


def write(call: Call) -> None:
    """tee, sponge, truncate."""
    call.known()
    appends = call.name != "truncate" and call.has("a", "append")
    for target in call.operands():
        call.judge.writes(target, call.here, truncates=not appends)


def copy(call: Call) -> None:
    """cp, mv, install, ln, rsync, scp: what they put, and over what."""
    call.known()
    if call.name == "ln" and call.has("s", "symbolic"):
        call.judge.links()
    sources, target = _sources_and_target(call)
    if call.name == "mv":
        for source in sources:
            call.judge.removes(source, call.here)
    if target is None or _is_remote(call, target):
        return
    keeps = call.has("n", "no-clobber") if call.name != "ln" else not call.has("f", "force")
    for landing in _landings(call, sources, target):
        call.judge.writes(landing, call.here, truncates=not keeps)


def _sources_and_target(call: Call) -> tuple[tuple[Word, ...], Word | None]:
    operands = call.operands()
    words = call.args
    for place, word in enumerate(words):
        text = word.text or ""
        if text.startswith("--target-directory="):
            return operands, literal(text.partition("=")[2])
        if is_short(text, "t") and call.name in ("cp", "mv", "install", "ln"):
            attached = text.partition("t")[2]
            if attached:
                return operands, literal(attached)
            if place + 1 < len(words):
                return tuple(w for w in operands if w is not words[place + 1]), words[place + 1]
    if len(operands) < 2:
        return operands, None
    return operands[:-1], operands[-1]


def _is_remote(call: Call, target: Word) -> bool:
    return call.name in ("rsync", "scp") and ":" in (target.text or "")


def _landings(call: Call, sources: tuple[Word, ...], target: Word) -> Iterator[Word]:
    """The paths that come into being: in the target if it is a folder, else the target."""
    for path in call.judge.places.targets(target, call.here):
        if not path.is_dir():
            yield literal(str(path))
            continue
        yield literal(str(path / "…"))
        for source in sources:
            for origin in call.judge.places.targets(source, call.here):
                yield literal(str(path / origin.name))


def dd(call: Call) -> None:
    """Write to `of=`."""
    for text in call.known():
        if text.startswith("of="):
            call.judge.writes(literal(text[3:]), call.here, truncates=True)


def outputs(call: Call) -> None:
    """Options whose value is overwritten, such as curl's -o."""
    options = tables.OUTPUT_OPTIONS.get(call.name, ())
    for place, word in enumerate(call.args):
        value = _option_value(word, options)
        if value is None:
            continue
        after = call.args[place + 1 : place + 2]
        for target in (literal(value),) if value else after:
            if target.text != "-":
                call.judge.writes(target, call.here, truncates=True)


def _option_value(word: Word, options: tuple[str, ...]) -> str | None:
    """The value that stands in the word itself, "" if it is the next word, None if no option."""
    text = word.text or ""
    for option in options:
        if option.startswith("--"):
            if text == option:
                return ""
            if text.startswith(f"{option}="):
                return text[len(option) + 1 :]
        elif is_short(text, option[1]):
            return text.partition(option[1])[2]
    return None


DAMAGE: Final[dict[str, Rule]] = {
    **dict.fromkeys(tables.REMOVERS, remove),
    **dict.fromkeys(tables.MODES, mode),
    **dict.fromkeys(tables.WRITERS, write),
    **dict.fromkeys(tables.COPIERS, copy),
    "dd": dd,
}
