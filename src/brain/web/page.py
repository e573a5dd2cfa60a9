"""What a fetched page says, as text that a model can read."""

import re
from typing import Final

from .fetch import Fetched, FetchRefused

HTML: Final = frozenset({"text/html", "application/xhtml+xml"})
_TEXTS: Final = re.compile(
    r"text/.+|application/(json|xml|javascript|yaml|x-yaml|toml|x-ndjson|rtf|.+\+(json|xml))"
)
_LARGEST: Final = 2 * 2**20
"""Bytes of HTML that are read: what comes after is hardly ever the article."""


def is_text(media_type: str) -> bool:
    """Whether the body is text as it stands. Without a type, its bytes must say so."""
    return _TEXTS.fullmatch(media_type) is not None


def readable(page: Fetched) -> str:
    """The page as Markdown (HTML) or as it stands (other text). Blocks: call it from a thread.

    Raises FetchRefused for what is no text.
    """
    if page.media_type in HTML or (not page.media_type and _looks_like_html(page.body)):
        return _article(page)
    if is_text(page.media_type) or (not page.media_type and b"\0" not in page.body[:4096]):
        return _decoded(page)
    raise FetchRefused(
        "unsupported_type",
        f"{page.url} is {page.media_type or 'binary'}, which cannot be read as text",
    )


def _looks_like_html(body: bytes) -> bool:
    return re.search(rb"<!doctype html|<html\b", body[:1024], re.IGNORECASE) is not None


def _article(page: Fetched) -> str:
    """The main text; where no article can be told from the rest, all that there is to read."""
    import trafilatura

    body = page.body[:_LARGEST]
    text = trafilatura.extract(
        body,
        url=page.url,
        output_format="markdown",
        include_links=True,
        include_tables=True,
        include_comments=False,
        favor_recall=True,
    )
    text = text or trafilatura.html2txt(body)
    tree = trafilatura.load_html(body)
    title = trafilatura.extract_metadata(tree).title if tree is not None else None
    head = f"# {title}\n\n" if isinstance(title, str) and title not in text[:500] else ""
    return f"{head}{text.strip()}"


def _decoded(page: Fetched) -> str:
    try:
        return page.body.decode(page.charset or "utf-8", errors="replace")
    except LookupError:  # a charset that nobody knows
        return page.body.decode(errors="replace")
