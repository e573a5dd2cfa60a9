"""file_search: text files by words and by meaning."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from ...channels.events import JsonObject
from ...files.index import FileIndex, Found
from ..tools import Tool, ToolContext, ToolOutput
from .reach import reach
from .refusal import number_of, platform_tool, text_of

_RESULTS: Final = 10
_MOST: Final = 20


def file_search(index: Callable[[], FileIndex]) -> Tool:
    """The tool `file_search`; `index` is asked for when it runs."""

    @platform_tool(
        "file_search",
        "Search the text files of the workspace and the allowed folders by what they are about, in"
        " words of your own: names of things, or a question. Answers with the files that fit best"
        " and the lines to look at. For an exact string or a pattern use grep.",
        {
            "query": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1000,
                "description": "What to look for. Example: where is the retry delay computed",
            },
            "path": {
                "type": "string",
                "minLength": 1,
                "description": "A folder to stay below; everything by default.",
            },
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": _MOST,
                "description": "How many files at most; 10 by default.",
            },
        },
        required=("query",),
    )
    async def tool(arguments: JsonObject, context: ToolContext) -> ToolOutput:
        scope = await trio.to_thread.run_sync(_scope, arguments, context)
        limit = int(number_of(arguments, "limit", _RESULTS))
        query = text_of(arguments, "query")
        found = await index().search(query, scope.roots, scope.folders, limit)
        return _told(found, scope.home)

    return tool


class _Scope(Struct, frozen=True):
    """What to bring up to date, and below which folders to look; all paths are real ones."""

    home: str
    roots: list[Path]
    folders: list[str]


def _scope(arguments: JsonObject, context: ToolContext) -> _Scope:
    roots = _outermost(context.roots)
    folders = [str(root) for root in roots]
    if "path" in arguments:
        reached = reach(text_of(arguments, "path"), context.workspace, context.roots)
        folders = [str(reached.path)]
    return _Scope(os.path.realpath(context.workspace), roots, folders)


def _outermost(roots: Sequence[Path]) -> list[Path]:
    """The real folders among the roots, without those that are inside another."""
    real = sorted({Path(os.path.realpath(root)) for root in roots})
    outer: list[Path] = []
    for root in real:
        if root.is_dir() and not any(one in root.parents for one in outer):
            outer.append(root)
    return outer


def _told(found: Found, workspace: str) -> ToolOutput:
    parts = [f"{_shown(hit.path, workspace)}:{hit.first_line}\n{hit.snippet}" for hit in found.hits]
    notes: list[str] = []
    if found.passing is not None:
        done, changed = found.passing.done, found.passing.changed
        notes.append(
            f"the index is not complete yet: {done} of {changed} new or changed files are in it;"
            " search again for the rest"
        )
    if found.standing.skipped:
        counts = ", ".join(f"{n} {reason}" for reason, n in sorted(found.standing.skipped.items()))
        notes.append(f"not searched: {counts}")
    if not parts:
        parts = [f"nothing found in {found.standing.files} files; try other words, or grep"]
    if notes:
        parts.append(f"[{'; '.join(notes)}]")
    return ToolOutput("\n\n".join(parts), truncated=found.passing is not None)


def _shown(path: str, workspace: str) -> str:
    return path.removeprefix(f"{workspace}/")
