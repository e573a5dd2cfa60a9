"""Walking a script in its order: each command with its words, its input and where it may run."""

import re
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from msgspec import Struct
from tree_sitter import Node

from .places import Here, joined
from .syntax import Objection, descendants, parse, text_of
from .words import Word, literal, word_of, words_of

MOVES: Final = frozenset({"cd", "pushd", "popd"})

HAZARDOUS: Final = frozenset(
    {
        "BASH_ENV",
        "ENV",
        "IFS",
        "PS4",
        "PROMPT_COMMAND",
        "SHELLOPTS",
        "BASHOPTS",
        "GLOBIGNORE",
        "CDPATH",
    }
    | {"LD_PRELOAD", "LD_AUDIT", "PYTHONSTARTUP", "PERL5OPT", "RUBYOPT", "NODE_OPTIONS"}
    | {"GIT_SSH_COMMAND", "GIT_EXTERNAL_DIFF", "GIT_PAGER", "PAGER", "EDITOR", "VISUAL"}
)
"""Variables that make other programs run something."""

_LOOPS: Final = frozenset({"for_statement", "while_statement", "c_style_for_statement"})
_REDIRECTS: Final = frozenset({"file_redirect", "heredoc_redirect", "herestring_redirect"})
_WORDS: Final = frozenset(
    "word number string raw_string ansi_c_string concatenation simple_expansion expansion"
    " command_substitution process_substitution arithmetic_expansion brace_expression"
    " extglob_pattern regex variable_name test_operator".split()
)
_OPERATORS: Final = frozenset({"<", ">", "|", "|&", "&", "&&", "||", ";"})
_SHELLS_OUT: Final = re.compile(r"\$\(|`|\$\{")
_TRANSFORMED: Final = re.compile(r"@[PEAKak]\}$")


class Invocation(Struct, frozen=True):
    """One simple command. `fed`: its input comes from a pipe or a file.

    `texts` are the here-documents and here-strings it reads, None where not known.
    """

    words: tuple[Word, ...]
    here: Here
    fed: bool
    texts: tuple[str | None, ...] = ()


class Visitor(Protocol):
    """Judges what a walk comes by; objects by raising Objection."""

    def command(self, invocation: Invocation) -> Here:
        """A simple command; return where the shell is if it succeeds."""
        ...

    def writes(self, target: Word, here: Here, *, truncates: bool) -> None:
        """A redirection into a file."""
        ...

    def reads(self, source: Word) -> None:
        """A redirection from a file."""
        ...

    def defines(self, name: str) -> None:
        """A function is defined."""
        ...


class Walk:
    """One pass over one script. Folders are over-estimated: a `cd` may or may not succeed."""

    def __init__(self, visitor: Visitor, here: Here) -> None:
        self._visitor = visitor
        self._here = here
        self._handlers: dict[str, Callable[[Node, bool], None]] = {
            **dict.fromkeys(_LOOPS, self._loop),
            **dict.fromkeys(_REDIRECTS, self._redirect),
            **dict.fromkeys(("subshell", "command_substitution"), self._elsewhere),
            **dict.fromkeys(("declaration_command", "unset_command"), self._declaration),
            "command": self._plain_command,
            "redirected_statement": self._redirected,
            "pipeline": self._pipeline,
            "list": self._list,
            "process_substitution": self._elsewhere,
            "function_definition": self._function,
            "variable_assignment": self._assignment,
            "test_command": self._test,
            "expansion": self._expansion,
        }

    def run(self, source: str, *, fed: bool) -> Here:
        """Walk the whole script; return where it may leave the shell."""
        self._visit(parse(source), fed)
        return self._here

    def _visit(self, node: Node, fed: bool) -> None:
        handler = self._handlers.get(node.type)
        if handler is not None:
            handler(node, fed)
        else:
            self._children(node, fed)

    def _children(self, node: Node, fed: bool) -> None:
        for child in node.children:
            self._visit(child, fed)

    def _plain_command(self, node: Node, fed: bool) -> None:
        self._command(node, node, fed, ())

    def _expansion(self, node: Node, fed: bool) -> None:
        if _TRANSFORMED.search(text_of(node)):
            raise Objection("it evaluates the content of a variable")
        self._children(node, fed)

    def _elsewhere(self, node: Node, fed: bool) -> None:
        """A subshell, also behind `>(`: what it does to the folder stays there."""
        before = self._here
        self._children(node, fed or text_of(node).startswith(">"))
        self._here = before

    def _pipeline(self, node: Node, fed: bool) -> None:
        before = self._here
        for child in node.children:
            if child.type in ("|", "|&"):
                fed = True
            else:
                self._here = before
                self._visit(child, fed)
        self._here = before

    def _list(self, node: Node, fed: bool) -> None:
        """`a && b || c`: what stands behind a `cd &&` runs only where it led."""
        either = self._here
        for operator, part in _flat(node):
            if operator == "||":
                self._here = either
            before = self._here
            self._visit(part, fed)
            either = joined(either, self._here)
            if part.type == "command" and _name(part) in MOVES:
                words = tuple(word for piece in part.children for word in _plain_words(piece))
                self._here = self._visitor.command(Invocation(words, before, fed=False))
        self._here = either

    def _loop(self, node: Node, fed: bool) -> None:
        if _moves(node):
            self._here = None
        self._children(node, fed)

    def _function(self, node: Node, _fed: bool) -> None:
        """Its body may run anywhere later, with any input."""
        before = self._here
        self._visitor.defines(text_of(next(c for c in node.children if c.type == "word")))
        self._here = None
        for child in node.children:
            if child.type != "word":
                self._visit(child, fed=True)
        self._here = None if _moves(node) else before

    def _declaration(self, node: Node, fed: bool) -> None:
        self._children(node, fed)
        words = (word for part in node.children for word in _plain_words(part))
        name = literal(node.children[0].type)
        self._visitor.command(Invocation((name, *words), self._here, fed))

    def _assignment(self, node: Node, fed: bool) -> None:
        name = text_of(node).split("=", 1)[0].rstrip("+")
        if name in HAZARDOUS:
            raise Objection(f"it sets {name}, which makes other programs run something")
        for part in descendants(node):
            hidden = part.type in ("raw_string", "ansi_c_string", "word")
            if hidden and _SHELLS_OUT.search(text_of(part)):
                raise Objection("it hides code in a variable")
        self._children(node, fed)

    def _test(self, node: Node, fed: bool) -> None:
        """To `[`, unlike to `[[`, operators of the shell are not its own: `[ a > b ]` writes b."""
        plain = node.children[0].type == "["
        if plain and "\n" in text_of(node).replace("\\\n", ""):
            raise Objection("a test goes over several lines")
        for part in descendants(node):
            if plain and part.type in _OPERATORS:
                raise Objection(f"a test holds the operator {part.type} of the shell")
            if part.type == "raw_string" and _SHELLS_OUT.search(text_of(part)):
                raise Objection("it hides code in a test")
        self._children(node, fed)

    def _redirected(self, node: Node, fed: bool) -> None:
        redirects = [child for child in node.children if child.type in _REDIRECTS]
        bodies = [child for child in node.children if child.type not in _REDIRECTS]
        texts = tuple(text for redirect in redirects for text in _texts(redirect))
        feeds = fed or any(_is_input(redirect) for redirect in redirects)
        for redirect in redirects:
            self._redirect(redirect, fed)
        for body in bodies:
            if body.type == "command":
                self._command(body, node, feeds, texts)
            elif any(True for redirect in redirects for _ in _stray_words(redirect)):
                raise Objection("words stand where none belong")
            else:
                self._visit(body, feeds)

    def _redirect(self, node: Node, fed: bool) -> None:
        """Judge the target of one redirection, and what stands on a here-document's line."""
        if node.type == "herestring_redirect":
            self._children(node, fed)
            return
        if node.type == "heredoc_redirect":
            piped = fed
            for child in node.children:
                piped = piped or child.type == "pipeline"
                if child.type not in _WORDS:
                    self._visit(child, piped)
            return
        self._children(node, fed)
        for target in _targets(node)[:1]:
            self._redirect_file(node, target)

    def _redirect_file(self, node: Node, target: Node) -> None:
        operator = next(c.type for c in node.children if c.type[-1] in "<>|&-")
        word = word_of(target)
        if operator in ("<", "<&"):
            self._visitor.reads(word)
        elif operator != ">&" or not (word.text or "").isdigit():
            self._visitor.writes(word, self._here, truncates=">>" not in operator)

    def _command(self, node: Node, whole: Node, fed: bool, texts: tuple[str | None, ...]) -> None:
        """A simple command; `whole` also holds words that stand after its redirections."""
        inner = [child for child in node.children if child.type in _REDIRECTS]
        texts += tuple(text for redirect in inner for text in _texts(redirect))
        words: list[Word] = []
        for child in node.children:
            if child.type in ("$", "(", ")"):
                raise Objection("one of its words is not understood")
            self._visit(child, fed)
            words.extend(_plain_words(child))
        for redirect in (*inner, *(c for c in whole.children if whole is not node)):
            words.extend(_stray_words(redirect))
        feeds = fed or any(_is_input(redirect) for redirect in inner)
        if words:
            there = self._visitor.command(Invocation(tuple(words), self._here, feeds, texts))
            if there is not self._here:
                self._here = joined(self._here, there)


def _name(command: Node) -> str:
    return next((text_of(c) for c in command.children if c.type == "command_name"), "")


def _flat(node: Node) -> Iterator[tuple[str, Node]]:
    """The parts of a list, which is nested to the left, each with the operator before it."""
    operator = ""
    for child in node.children:
        if child.type in ("&&", "||"):
            operator = child.type
        elif child.type == "list" and not operator:
            yield from _flat(child)
        else:
            yield operator, child


def _moves(node: Node) -> bool:
    """Whether a `cd` stands anywhere in it."""
    return any(part.type == "command" and _name(part) in MOVES for part in descendants(node))


def _plain_words(node: Node) -> Iterator[Word]:
    """The words of a command's part; none if it is an assignment or a redirection."""
    if node.type == "command_name" or node.type in _WORDS:
        yield from words_of(node)


def _targets(redirect: Node) -> list[Node]:
    return [child for child in redirect.children if child.type in _WORDS]


def _stray_words(redirect: Node) -> Iterator[Word]:
    """Words that stand behind a redirection's target and belong to the command."""
    skipped = {"file_redirect": 1, "heredoc_redirect": 0}.get(redirect.type)
    if skipped is not None:
        for node in _targets(redirect)[skipped:]:
            yield from words_of(node)


def _is_input(redirect: Node) -> bool:
    if redirect.type == "file_redirect":
        return any(child.type in ("<", "<&") for child in redirect.children)
    return True


def _texts(redirect: Node) -> Iterator[str | None]:
    """What a here-document or here-string feeds to its command."""
    if redirect.type == "herestring_redirect":
        for node in _targets(redirect):
            yield word_of(node).text
    elif redirect.type == "heredoc_redirect":
        parts = {child.type: child for child in redirect.children}
        quoted = text_of(parts["heredoc_start"])[0] in "'\""
        body = parts.get("heredoc_body")
        text = "" if body is None else text_of(body)
        yield text if quoted or not re.search(r"[$`\\]", text) else None
