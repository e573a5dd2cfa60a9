"""The text of a PDF, page by page, within limits of time, memory, pages and characters."""

import json
import sys
from pathlib import Path
from typing import Final

import trio
from msgspec import Struct

from . import pdf_reader

PAGES: Final = 1000
CHARACTERS: Final = 4_000_000
SECONDS: Final = 30
_MEMORY: Final = 1024 * 2**20
_READER: Final = str(Path(pdf_reader.__file__))


class PdfText(Struct, frozen=True):
    """What could be read: the text of each page, of how many pages, and what is missing."""

    texts: tuple[str, ...]
    pages: int
    problem: str = ""


async def pdf_text(data: bytes) -> PdfText:
    """Read a PDF in a process of its own; never raises for what is wrong with the PDF."""
    done = await trio.run_process(
        [sys.executable, "-I", _READER, str(PAGES), str(CHARACTERS), str(SECONDS), str(_MEMORY)],
        stdin=data,
        capture_stdout=True,
        capture_stderr=True,
        check=False,
        env={},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines(keepends=True) if _whole(line)]
    if done.returncode == pdf_reader.UNREADABLE or not lines:
        reason = done.stderr.decode(errors="replace").strip()[-300:]
        return PdfText((), 0, f"it cannot be read: {reason or 'the reader broke off'}")
    texts = tuple(str(line["text"]) for line in lines[1:])
    return PdfText(texts, int(lines[0]["pages"]), _problem(done.returncode, len(texts)))


def _whole(line: bytes) -> bool:
    """A reader that was killed may leave half a line."""
    return line.endswith(b"\n")


def _problem(code: int, read: int) -> str:
    match code:
        case 0:
            return ""
        case pdf_reader.MORE:
            return f"only its first {read} pages were read: it is too long"
        case _:
            return f"only its first {read} pages were read: the rest took too long or too much"
