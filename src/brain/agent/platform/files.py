"""read_file and write_file."""

import os
import stat
from contextlib import suppress
from typing import Final
from uuid import uuid4

import trio

from ...channels.events import JsonObject
from ...media.kinds import is_picture
from ...media.shown import MOST_BYTES, presentable, shown
from ..tools import ToolContext, ToolOutput
from .reach import Reached, file_in, folder_of, reach, refusal_of
from .refusal import Refusal, number_of, platform_tool, text_of

PAGE: Final = 50_000
"""Bytes of a page (contract, section 12)."""

_LONGEST: Final = 10_000_000
_SNIFFED: Final = 8192


@platform_tool(
    "read_file",
    "Read a text file. A long file comes in pages of 50 KB; the answer then says how many there"
    " are. A picture (PNG, JPEG, WebP, GIF) is shown to you. Other binary files are refused: look"
    " at those with bash.",
    {
        "path": {
            "type": "string",
            "minLength": 1,
            "description": "The file, relative to the workspace, or absolute inside the allowed"
            " folders. Example: src/main.py",
        },
        "page": {
            "type": "integer",
            "minimum": 1,
            "description": "Which page; the first by default.",
        },
    },
    required=("path",),
)
async def read_file(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    """One page of a file, or a picture."""
    path, page = text_of(arguments, "path"), int(number_of(arguments, "page", 1))
    found = await trio.to_thread.run_sync(_read, path, page, context, abandon_on_cancel=True)
    if isinstance(found, ToolOutput):
        return found
    pictures = await presentable((found,))
    if not pictures:
        raise _binary(path)
    media = await shown(context.database, context.task_id, pictures)
    return ToolOutput(f"[a picture of {len(found)} bytes]", media=media)


def _read(path: str, page: int, context: ToolContext) -> ToolOutput | bytes:
    """A page of text, or the bytes of what begins as a picture does."""
    reached = reach(path, context.workspace, context.roots)
    with folder_of(reached) as folder:
        file = file_in(folder, reached)
        try:
            size = _check_file(os.fstat(file), reached)
            head = os.pread(file, _SNIFFED, 0)
            if size <= MOST_BYTES and is_picture(head):
                return os.pread(file, size, 0)
            if b"\0" in head:
                raise _binary(reached.shown)
            return _page(file, size, page, reached)
        finally:
            os.close(file)


def _check_file(status: os.stat_result, reached: Reached) -> int:
    if stat.S_ISDIR(status.st_mode):
        raise Refusal("is_directory", f"{reached.shown} is a folder; list it with find")
    if not stat.S_ISREG(status.st_mode):
        raise Refusal("not_a_file", f"{reached.shown} is a pipe or a device, not a file")
    return status.st_size


def _binary(name: str) -> Refusal:
    return Refusal(
        "binary_file",
        f"{name} is not UTF-8 text; look at it with bash, for example with `file`",
    )


def _page(file: int, size: int, page: int, reached: Reached) -> ToolOutput:
    """A page, its edges moved to where characters begin."""
    pages = max(1, -(-size // PAGE))
    if page > pages:
        raise Refusal("no_such_page", f"{reached.shown} has {pages} page(s); ask for one of those")
    start = (page - 1) * PAGE
    data = os.pread(file, PAGE + 3, start)
    try:
        text = data[_begin(data, 0) if start else 0 : _begin(data, PAGE)].decode()
    except UnicodeDecodeError as error:
        raise _binary(reached.shown) from error
    if pages == 1:
        return ToolOutput(text)
    more = f"; ask for page {page + 1} to go on" if page < pages else ""
    return ToolOutput(f"{text}\n\n[page {page} of {pages}, {size} bytes{more}]", truncated=True)


def _begin(data: bytes, at: int) -> int:
    """The first place from `at` on where a UTF-8 character begins."""
    while at < len(data) and data[at] & 0xC0 == 0x80:
        at += 1
    return at


@platform_tool(
    "write_file",
    "Write a text file as a whole: it is created with its folders, or replaced at once. To change"
    " a part of a file, read it first and write it back, or use bash.",
    {
        "path": {
            "type": "string",
            "minLength": 1,
            "description": "The file, relative to the workspace, or absolute. Outside the allowed"
            " folders the person is asked first. Example: notes/plan.md",
        },
        "content": {"type": "string", "description": "All of the file's new text."},
    },
    required=("path", "content"),
)
async def write_file(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    """Replace a file in one step."""
    content = text_of(arguments, "content").encode(errors="replace")
    if len(content) > _LONGEST:
        raise Refusal("too_large", f"the content is over {_LONGEST} bytes; write it in parts")
    return await trio.to_thread.run_sync(_write, text_of(arguments, "path"), content, context)


def _write(path: str, content: bytes, context: ToolContext) -> ToolOutput:
    reached = reach(path, context.workspace, context.roots)
    if not reached.parts:
        raise Refusal("is_directory", f"{reached.shown} is a folder; name a file in it")
    name = reached.parts[-1]
    with folder_of(reached, make=True) as folder:
        try:
            before = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            before = None
        if before is not None:
            _check_file(before, reached)
        try:
            _replace(name, folder, content, before)
        except OSError as error:
            raise refusal_of(error, reached) from error
    verb = "created" if before is None else "replaced"
    return ToolOutput(f"{verb} {reached.shown}, {len(content)} bytes")


def _replace(name: str, folder: int, content: bytes, before: os.stat_result | None) -> None:
    """Write beside the file, then rename over it: a reader sees the old text or the new."""
    temporary = f".{name[:200]}.{uuid4().hex[:8]}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(temporary, flags, 0o644, dir_fd=folder), "wb") as file:
        try:
            file.write(content)
            if before is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            file.flush()
            os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=folder)
            raise
