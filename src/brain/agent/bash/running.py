"""Rules for commands that run other commands: what they run is judged in their place."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from ..concern import Concern
from . import tables
from .call import Call, Rule, is_short
from .places import Here
from .syntax import Objection
from .tables import Wrapper
from .walk import HAZARDOUS
from .words import UNKNOWN, Word, literal

_ASSIGNMENT: Final = re.compile(r"(\w+)=", re.ASCII)
_LOOKS_LIKE_CODE: Final = re.compile(r"[\s;&|<>(){}$`]")
_MOST_WORDS: Final = 100


def shell(call: Call) -> None:
    """sh, bash and so on: the text of -c, a script's content, or what is fed to it."""
    code = False
    reads_input = False
    for place, word in enumerate(call.args):
        text = word.text
        if text is None or word.pattern is not None:
            raise Objection(f"{call.name} runs {word.shown}, only known when it runs")
        if text in ("--", "-") or not text.startswith(("-", "+")):
            rest = call.args[place + (text in ("--", "-")) :]
            _operands(call, rest, code=code, reads_input=reads_input)
            return
        if text.startswith(("--rcfile", "--init-file", "-o", "-O", "+o", "+O")):
            raise Objection(f"{call.name} is started in an unusual way ({text})")
        code = code or is_short(text, "c")
        reads_input = reads_input or is_short(text, "s")
    _fed(call)


def _operands(call: Call, words: tuple[Word, ...], *, code: bool, reads_input: bool) -> None:
    if not words or reads_input:
        _fed(call)
    elif code:
        call.judge.read(_text(call, words[0]), call.here, fed=call.fed)
    else:
        call.judge.read_file(words[0], call.here, fed=call.fed)


def _text(call: Call, word: Word) -> str:
    if word.text is None:
        raise Objection(f"{call.name} runs {word.shown}, only known when it runs")
    return word.text


def _fed(call: Call) -> None:
    """A shell that reads its commands from its input."""
    if call.texts and None not in call.texts:
        for text in call.texts:
            call.judge.read(text or "", call.here, fed=True)
    elif call.fed:
        raise Objection(f"it feeds commands to {call.name} that are only known when it runs")


def source(call: Call) -> None:
    """`source file`."""
    for script in call.args[:1]:
        call.judge.read_file(script, call.here, fed=call.fed)


def evaluate(call: Call) -> None:
    """`eval`: its words are one script."""
    call.judge.read(" ".join(call.known()), call.here, fed=call.fed)


def trap(call: Call) -> None:
    """`trap code signal`."""
    for word in call.operands()[:1]:
        text = _text(call, word)
        if text not in ("", "-"):
            call.judge.read(text, None, fed=call.fed)


def alias(call: Call) -> None:
    """`alias name=code`: the code will get words that are not known yet."""
    for text in call.known():
        if "=" in text:
            call.judge.read(f'{text.partition("=")[2]} "$@"', None, fed=True)


def execute(call: Call) -> None:
    """`exec`: a command, or redirections for all that follows."""
    if call.args:
        wrapper(call)
    elif call.fed:
        raise Objection("it changes where later commands read from")


def wrapper(call: Call) -> None:
    """env, timeout, nohup …: the command behind their own options."""
    known = tables.WRAPPERS.get(call.name)
    start = None if known is None else command_at(call.args, known)
    if start is None:
        tails(call)
    else:
        call.run(call.args[start:])


def command_at(args: Sequence[Word], wrapper: Wrapper) -> int | None:
    """Where the wrapped command begins; None if an option is not known."""
    place, operands = 0, wrapper.operands
    while place < len(args):
        step = _option_width(args[place], wrapper)
        if step is None:
            return None
        if step == 0 and operands == 0:
            return place
        operands -= step == 0
        place += step or 1
    return place


def _option_width(word: Word, wrapper: Wrapper) -> int | None:
    """How many words an option takes up; 0 for an operand, None if that is not known."""
    text = word.text
    if _assigns(word) or text == "--" or text in wrapper.flags:
        return 1
    if text in wrapper.valued:
        return 2
    if not word.prefix.startswith("-") or text == "-":
        return None if "=" in word.prefix else 0
    if text is not None and (text[:2] in wrapper.valued or text.split("=")[0] in wrapper.valued):
        return 1
    return None


def _assigns(word: Word) -> bool:
    match = _ASSIGNMENT.match(word.prefix)
    if match is None:
        return False
    if match.group(1) in HAZARDOUS:
        raise Objection(f"it sets {match.group(1)}, which makes other programs run something")
    return not word.splits


def tails(call: Call) -> None:
    """Take every word for the beginning of a command, and every long one for a script.

    Sound whatever the options mean, also if they change the folder. Wrappers among the words are
    skipped, for their own tails are tails of this one.
    """
    if len(call.args) > _MOST_WORDS:
        raise Objection(f"{call.name} gets too many words")
    call = replace(call, here=None)
    for place, word in enumerate(call.args):
        text = _text(call, word)
        for code in _scripts(text):
            call.judge.read(code, call.here, fed=call.fed)
        name = text.rpartition("/")[2]
        if name not in tables.UNREAD and name not in tables.WRAPPERS:
            call.run(call.args[place:])
        elif name in ("xargs", "exec"):
            call.run(call.args[place:])


def ssh(call: Call) -> None:
    """ssh: a command over there, and settings that run one here."""
    for text in call.literals():
        if tables.SSH_RUNS.match(text) or text.startswith("-F"):
            raise Objection(f"ssh may run another program ({text})")
    tails(call)


def transcript(call: Call) -> None:
    """script: a command whose output goes to a file."""
    for target in call.operands():
        call.judge.writes(target, call.here, truncates=not call.has("a", "append"))
    tails(call)


def _scripts(text: str) -> Iterator[str]:
    """What of a word may be a script: all, or what is attached to an option."""
    if not _LOOKS_LIKE_CODE.search(text):
        return
    if not text.startswith("-"):
        yield text
    else:
        yield text[2:]
        if "=" in text:
            yield text.partition("=")[2]


_PLACEHOLDER: Final = Wrapper(
    tables.WRAPPERS["xargs"].flags, tables.WRAPPERS["xargs"].valued | {"-I", "--replace"}
)


def xargs(call: Call) -> None:
    """The command with words that come from the input."""
    start = command_at(call.args, _PLACEHOLDER)
    options = call.args if start is None else call.args[:start]
    mark = _placeholder(options)
    words = tuple(_replaced(word, mark) for word in call.args)
    given = replace(call, args=(*words, *(() if mark else (UNKNOWN,))))
    if start is None:
        tails(given)
    elif start < len(call.args):
        given.run(given.args[start:])


def _placeholder(options: Sequence[Word]) -> str:
    for place, word in enumerate(options):
        text = word.text or ""
        if text.startswith("-I"):
            following = options[place + 1].text if place + 1 < len(options) else None
            return text[2:] or following or ""
        if text.startswith("--replace"):
            return text.partition("=")[2] or "{}"
    return ""


def _replaced(word: Word, mark: str) -> Word:
    """A word whose placeholder will be filled with something unknown."""
    if not mark or word.text is None or mark not in word.text:
        return word
    return Word(None, prefix=word.text.partition(mark)[0])


def find(call: Call) -> None:
    """find: what -exec runs and -delete removes, below its starting points."""
    starts, rest = _starting_points(call.args)
    follows = any(text in ("-L", "-follow", "-H") for text in call.literals())
    place = 0
    while place < len(rest):
        text = rest[place].text
        if text is None:
            raise Objection(f"find gets {rest[place].shown}, only known when it runs")
        if text in tables.FIND_VALUED:
            if any(word.splits and word.text is None for word in rest[place + 1 : place + 2]):
                raise Objection(f"find gets {rest[place + 1].shown}, only known when it runs")
            place += 1
        elif text == "-files0-from":
            raise Objection("find starts from places that are only known when it runs")
        elif text in tables.FIND_DELETES:
            _found_are_removed(call, starts, follows=follows)
        elif text in tables.FIND_WRITES:
            for target in rest[place + 1 : place + 2]:
                call.judge.writes(target, call.here, truncates=True)
            place += 1 + (text == "-fprintf")
        elif text in tables.FIND_RUNS | tables.FIND_RUNS_THERE:
            end = _end_of_command(rest, place)
            there = call.here if text in tables.FIND_RUNS else None
            _found_are_given(call, rest[place + 1 : end], starts, there, follows=follows)
            place = end
        place += 1


def _starting_points(args: tuple[Word, ...]) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    place = 0
    while place < len(args) and args[place].text in ("-L", "-H", "-P"):
        place += 1
    first = place
    while place < len(args) and not args[place].prefix.startswith(("-", "(", "!")):
        if args[place].text is None and args[place].splits:
            raise Objection(f"find gets {args[place].shown}, only known when it runs")
        place += 1
    return args[first:place] or (literal("."),), args[place:]


def _end_of_command(words: tuple[Word, ...], start: int) -> int:
    for place in range(start + 1, len(words)):
        if words[place].text in (";", "+"):
            return place
    return len(words)


def _found_are_removed(call: Call, starts: tuple[Word, ...], *, follows: bool) -> None:
    if follows:
        raise Objection("find removes behind links")
    for start in starts:
        call.judge.removes(_below(start), call.here)


def _found_are_given(
    call: Call, words: tuple[Word, ...], starts: tuple[Word, ...], here: Here, *, follows: bool
) -> None:
    """Judge a command once for every starting point, `{}` being a path below it."""
    if words and words[0].text in tables.MODES:
        raise Objection(f"it runs {words[0].text} on all that find finds", Concern.OPENS_UP)
    for start in starts:
        found = UNKNOWN if follows or start.text is None else _below(start)
        given = tuple(found if word.text == "{}" else _replaced(word, "{}") for word in words)
        if given:
            call.judge.run(given, here, fed=call.fed)


def _below(start: Word) -> Word:
    if start.text is None:
        return Word(None, prefix=start.prefix)
    return literal(f"{start.text.rstrip('/')}/…")


RUNNING: Final[dict[str, Rule]] = {
    **dict.fromkeys(tables.UNREAD, tails),
    **dict.fromkeys(tables.WRAPPERS, wrapper),
    **dict.fromkeys(tables.SHELLS, shell),
    **dict.fromkeys(("source", "."), source),
    "eval": evaluate,
    "trap": trap,
    "alias": alias,
    "exec": execute,
    "script": transcript,
    "ssh": ssh,
    "xargs": xargs,
    "find": find,
}
