"""Bash source to a syntax tree that can be trusted, or an objection.

The parser is not bash. Where the two might read a text differently, the difference could hide a
command; so whatever is unusual enough for that is objected to instead of guessed at.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

import tree_sitter_bash
from tree_sitter import Language, Node, Parser

from ..concern import Concern

MAX_SOURCE: Final = 64 * 1024
"""Longest script that is read, in characters."""

_MAX_PIPES: Final = 2000
"""On a text that it cannot make sense of, the parser's time grows with the square of these."""

_MAX_DEPTH: Final = 100
"""Deepest nesting of constructs; a list of n commands nests n deep."""

_LANGUAGE: Final = Language(tree_sitter_bash.language())

_KNOWN: Final = frozenset(
    "ansi_c_string arithmetic_expansion array binary_expression brace_expression"
    " c_style_for_statement case_item case_statement command command_name command_substitution"
    " comment compound_statement concatenation declaration_command do_group elif_clause"
    " else_clause expansion extglob_pattern file_descriptor file_redirect for_statement"
    " function_definition heredoc_body heredoc_content heredoc_end heredoc_redirect heredoc_start"
    " herestring_redirect if_statement list negated_command number parenthesized_expression"
    " pipeline postfix_expression process_substitution program raw_string redirected_statement"
    " regex simple_expansion special_variable_name string string_content subscript subshell"
    " ternary_expression test_command test_operator unary_expression unset_command"
    " variable_assignment variable_assignments variable_name while_statement word".split()
)
"""Every construct the walk understands."""

_LOOSE: Final = frozenset(
    "string heredoc_body heredoc_redirect redirected_statement expansion arithmetic_expansion"
    " ansi_c_string".split()
)
"""Constructs whose parts may have text between them, or stand out of order."""

_TIGHT: Final = frozenset(
    "simple_expansion concatenation variable_assignment subscript command_name".split()
)
"""Constructs of one piece: nothing may stand between their parts."""

_ONE_LINE: Final = frozenset(
    "command declaration_command unset_command file_redirect herestring_redirect negated_command"
    " variable_assignments".split()
)
"""Constructs that end with their line, unless it is continued."""

_BLANK: Final = re.compile(rb"(?:[ \t\n]|\\\n)*")
_LINE_BLANK: Final = re.compile(rb"(?:[ \t]|\\\n)*")
_NOTHING: Final = re.compile(rb"")
_OPEN_BLANK: Final = re.compile(rb"(?<!\\)(?:\\\\)*[ \t\n]|^[ \t\n]")
_DELIMITER: Final = re.compile(r"""(['"]?)([A-Za-z_]\w*)\1""", re.ASCII)
_COMMENT_BEFORE: Final = re.compile(rb"(?:^|[;&|()\n]|(?<!\\)[ \t])[ \t]*$")


_UNSEEN: Final = re.compile(rb"(?<!\\)(?:\\\\)*(?:\$[({\[]|`)")
"""The beginning of an expansion; where only plain text should be, it was overlooked."""

_WORDS: Final = frozenset(
    "command_name word number string raw_string ansi_c_string concatenation simple_expansion"
    " expansion command_substitution process_substitution arithmetic_expansion brace_expression"
    " extglob_pattern variable_name variable_assignment".split()
)
"""Constructs that are words; two of them without a blank between are one word, torn."""

_PLAIN: Final = frozenset(
    "regex extglob_pattern word string_content heredoc_content variable_name test_operator".split()
)


_OVERLOOKED: Final = "part of it was not understood"


class Objection(Exception):
    """Why a person should look at a command; the text is what they are told."""

    def __init__(self, reason: str, concern: Concern = Concern.UNCLEAR) -> None:
        super().__init__(reason)
        self.reason = reason
        self.concern = concern


def parse(source: str) -> Node:
    """The tree of a script. Raises Objection when it cannot be relied on."""
    _check_text(source)
    root = Parser(_LANGUAGE).parse(source.encode()).root_node
    if root.has_error:
        raise Objection("it is not plain bash, so what it does cannot be told")
    whole = source.encode()
    if (whole[: root.start_byte] + whole[root.end_byte :]).strip():
        raise Objection(_OVERLOOKED)
    for node, depth in _with_depth(root):
        if depth > _MAX_DEPTH:
            raise Objection("it is nested too deeply to be read with care")
        _check_node(node, whole)
    return root


def descendants(node: Node) -> Iterator[Node]:
    """The node and everything below it, in the order of the text."""
    return (found for found, _ in _with_depth(node))


def _with_depth(node: Node) -> Iterator[tuple[Node, int]]:
    stack = [(node, 0)]
    while stack:
        found, depth = stack.pop()
        yield found, depth
        stack.extend((child, depth + 1) for child in reversed(found.children))


def text_of(node: Node) -> str:
    """The source of a node."""
    return (node.text or b"").decode()


def _check_text(source: str) -> None:
    if len(source) > MAX_SOURCE:
        raise Objection("it is too long to be read with care")
    if source.count("|") > _MAX_PIPES:
        raise Objection("it holds too many pipes to be read with care")
    for character in source:
        if not character.isprintable() and character not in "\n\t":
            raise Objection(f"it contains the invisible character U+{ord(character):04X}")
        if character != " " and unicodedata.category(character) in ("Zs", "Zl", "Zp"):
            raise Objection("it contains a blank that is not a space")


def _check_node(node: Node, whole: bytes) -> None:
    if node.is_named and node.type not in _KNOWN:
        raise Objection(f"it uses a construct that is not understood ({node.type})")
    if not node.is_named and not node.children and text_of(node).strip(" \t") != node.type:
        raise Objection(_OVERLOOKED)
    if node.type == "comment":
        _check_comment(node, whole)
    elif node.type == "heredoc_redirect":
        _check_heredoc(node)
    elif node.type == "command_substitution" and text_of(node).startswith("`"):
        if "\\" in text_of(node):
            raise Objection("it nests backquotes")
    elif node.type in _PLAIN or node.type == "heredoc_body":
        _check_plain(node)
    elif node.children and node.type not in _LOOSE:
        _check_gaps(node)


def _check_gaps(node: Node) -> None:
    """Nothing but blanks may stand between the parts: else a part was overlooked."""
    blank = _BLANK
    if node.type in _TIGHT:
        blank = _NOTHING
    elif node.type in _ONE_LINE:
        blank = _LINE_BLANK
    text, offset, at = node.text or b"", node.start_byte, node.start_byte
    before = ""
    for child in node.children:
        gap = text[at - offset : max(at, child.start_byte) - offset]
        torn = not gap and before in _WORDS and child.type in _WORDS and blank is not _NOTHING
        if torn or not blank.fullmatch(gap):
            raise Objection(_OVERLOOKED)
        at, before = max(at, child.end_byte), child.type
    if not _BLANK.fullmatch(text[at - offset :]):
        raise Objection(_OVERLOOKED)


def _check_plain(node: Node) -> None:
    """No expansion may stand in plain text, nor between the expansions of a here-document."""
    parent = node.parent
    if node.type == "heredoc_body" and parent is not None and _is_quoted(parent):
        return
    text = bytearray(node.text or b"")
    for child in node.children:
        start, end = child.start_byte - node.start_byte, child.end_byte - node.start_byte
        text[start:end] = b" " * (end - start)
    if node.type == "word" and _OPEN_BLANK.search(text):
        raise Objection(_OVERLOOKED)
    if _UNSEEN.search(text):
        raise Objection("an expansion in it was not understood")


def _is_quoted(heredoc: Node) -> bool:
    start = next(child for child in heredoc.children if child.type == "heredoc_start")
    return text_of(start)[0] in "'\""


def _check_comment(node: Node, whole: bytes) -> None:
    """A comment must begin where bash sees one: a `#` inside a word is none."""
    line = whole.rfind(b"\n", 0, node.start_byte) + 1
    if not _COMMENT_BEFORE.search(whole[line : node.start_byte]):
        raise Objection("a # in it may or may not begin a comment")


def _check_heredoc(node: Node) -> None:
    """The text must end where bash ends it, so only plain delimiters will do."""
    parts = {child.type: child for child in node.children}
    start = _DELIMITER.fullmatch(text_of(parts["heredoc_start"]))
    body = text_of(parts["heredoc_body"]) if "heredoc_body" in parts else ""
    end = text_of(parts["heredoc_end"]) if "heredoc_end" in parts else ""
    if start is None or end.strip() != start.group(2):
        raise Objection("it is unclear where its here-document ends")
    if any(line.lstrip("\t") == start.group(2) for line in body.splitlines()):
        raise Objection("it is unclear where its here-document ends")
