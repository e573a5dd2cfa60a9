"""grep and find."""

import json
import os
import re
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

import trio

from ...channels.events import JsonObject
from ..tools import ToolContext, ToolOutput
from . import globs, searcher
from .reach import Reached, file_in, folder_at, folder_of, reach
from .refusal import Refusal, platform_tool, text_of

MATCHES: Final = 100
"""Matches grep shows at most (contract, section 12)."""

PATHS: Final = 1000
"""Paths find shows at most."""

_PATIENCE_S: Final = 10.0
_MEMORY: Final = 512 * 1024 * 1024
_SEARCHER: Final = str(Path(searcher.__file__))

_PATH: Final[JsonObject] = {
    "type": "string",
    "minLength": 1,
    "description": "Where to look, relative to the workspace; the whole workspace by default.",
}


@platform_tool(
    "grep",
    "Search the content of text files with a regular expression (Python's syntax). Answers with"
    " path:line:text for the first 100 matching lines. Binary files and .git are left out.",
    {
        "pattern": {
            "type": "string",
            "minLength": 1,
            "maxLength": 2000,
            "description": r"The regular expression. Example: def \w+_handler\(",
        },
        "path": _PATH,
        "glob": {
            "type": "string",
            "minLength": 1,
            "maxLength": 500,
            "description": "Only files whose name (or, with a slash, path) matches."
            " Examples: *.py, src/**/*.ts",
        },
        "ignore_case": {"type": "boolean", "description": "Whether A and a are the same."},
    },
    required=("pattern",),
)
async def grep(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    """Matching lines."""
    order, folder = await trio.to_thread.run_sync(_prepare, arguments, context)
    try:
        with trio.move_on_after(_PATIENCE_S):
            return await _search(order, folder)
    finally:
        os.close(folder)
    raise Refusal(
        "timeout",
        f"the search took over {_PATIENCE_S:g} s; narrow it with path or glob, or simplify the"
        " pattern (nested repetitions such as (a+)+ take for ever)",
    )


def _prepare(arguments: JsonObject, context: ToolContext) -> tuple[searcher.Order, int]:
    """The order, and a descriptor of the folder to search."""
    reached = reach(text_of(arguments, "path", "."), context.workspace, context.roots)
    is_folder = reached.path.is_dir()
    order = _order(arguments, reached, is_folder=is_folder)
    with folder_at(reached) if is_folder else folder_of(reached) as folder:
        if not is_folder:
            os.close(file_in(folder, reached))
        return order, os.dup(folder)


def _order(arguments: JsonObject, reached: Reached, *, is_folder: bool) -> searcher.Order:
    glob = text_of(arguments, "glob")
    folder = reached.shown if is_folder else os.path.dirname(reached.shown)
    return searcher.Order(
        pattern=text_of(arguments, "pattern"),
        ignore_case=arguments.get("ignore_case") is True,
        prefix="" if folder in ("", ".") else f"{folder.rstrip('/')}/",
        only="" if is_folder else reached.parts[-1],
        glob=_valid_glob(glob),
        glob_is_path=globs.is_path(glob),
        most=MATCHES,
        seconds=int(_PATIENCE_S) + 2,
        memory=_MEMORY,
    )


def _valid_glob(glob: str) -> str:
    expression = globs.pattern(glob)
    try:
        re.compile(expression)
    except re.error as error:
        raise Refusal("invalid_glob", f"the glob {glob!r} is not valid: {error}") from error
    return expression


async def _search(order: searcher.Order, folder: int) -> ToolOutput:
    done = await trio.run_process(
        [sys.executable, "-I", "-S", _SEARCHER, str(folder)],
        stdin=json.dumps(asdict(order)).encode(),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        pass_fds=(folder,),
        env={},
    )
    found = done.stdout.decode(errors="replace")
    match done.returncode:
        case 0:
            return ToolOutput(found or "no match")
        case searcher.MORE:
            note = f"[more than {MATCHES} matches: narrow the pattern, the path or the glob]"
            return ToolOutput(f"{found}{note}", truncated=True)
        case searcher.BAD_PATTERN:
            reason = done.stderr.decode(errors="replace")
            raise Refusal("invalid_pattern", f"the pattern is not valid: {reason}")
        case _:
            raise Refusal("failed", "the search broke off; narrow it with path or glob")


@platform_tool(
    "find",
    "List files and folders by name, sorted, at most 1000. Folders end with a slash. Links are"
    " shown but not followed; what is inside .git is left out.",
    {
        "pattern": {
            "type": "string",
            "minLength": 1,
            "maxLength": 500,
            "description": "A glob for the name or, with a slash, for the path below `path`."
            " Everything by default. Examples: *.md, src/**/test_*.py",
        },
        "path": _PATH,
        "type": {
            "type": "string",
            "enum": ["file", "folder", "any"],
            "description": "What to list; any by default.",
        },
    },
)
async def find(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    """Matching paths."""
    return await trio.to_thread.run_sync(_find, arguments, context)


def _find(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    reached = reach(text_of(arguments, "path", "."), context.workspace, context.roots)
    glob = text_of(arguments, "pattern", "*")
    wanted, by_path = re.compile(_valid_glob(glob)), globs.is_path(glob)
    kind = text_of(arguments, "type", "any")
    found: list[str] = []
    until = time.monotonic() + _PATIENCE_S
    with folder_at(reached) as folder:
        for path in _walk(folder, kind, until):
            name = path.rstrip("/")
            if wanted.fullmatch(name if by_path else os.path.basename(name)):
                found.append(path)
            if len(found) > PATHS:
                break
    prefix = "" if reached.shown in ("", ".") else f"{reached.shown.rstrip('/')}/"
    listing = "".join(f"{prefix}{path}\n" for path in found[:PATHS])
    if len(found) > PATHS:
        note = f"[more than {PATHS} paths: narrow the pattern or the path]"
        return ToolOutput(f"{listing}{note}", truncated=True)
    return ToolOutput(listing or "nothing found")


def _walk(folder: int, kind: str, until: float) -> Iterator[str]:
    """Paths below a folder, in order; ends the search when it is cancelled or takes too long."""
    for top, folders, names, _ in os.fwalk(".", dir_fd=folder, follow_symlinks=False):
        trio.from_thread.check_cancelled()
        if time.monotonic() > until:
            raise Refusal("timeout", "the folder is too large; narrow the path")
        folders.sort()
        entries = [(name, "file") for name in names] if kind != "folder" else []
        if kind != "file":
            entries += [(name, "folder") for name in folders]
        for name, what in sorted(entries):
            path = os.path.normpath(os.path.join(top, name))
            yield f"{path}/" if what == "folder" else path
        folders[:] = [name for name in folders if name != ".git"]
