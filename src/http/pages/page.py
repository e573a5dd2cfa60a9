"""The pages for people: self-contained HTML files beside this one, and what they may do."""

import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from msgspec import Struct

_SCRIPT: Final = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_NAMES: Final = ("docs", "observe", "sign_in")


class Service(Struct, frozen=True):
    """Whose pages they are: its name, the header of its key, its views in their order."""

    title: str
    key_header: str
    views: tuple[str, ...]


ENGINE: Final = Service("September Engine", "X-Engine-Key", ("actors", "traces", "why", "events"))
ORCHESTRATOR: Final = Service(
    "September orchestrator", "X-Admin-Key", ("fleet", "actors", "traces", "why")
)


def page(name: str, service: Service = ENGINE) -> str:
    """The HTML of the page `name`."""
    text = _read(_folder() / f"{name}.html")
    links = "".join(f'<a href="#{view}">{view.capitalize()}</a>' for view in service.views)
    for placeholder, value in (
        ("{{title}}", service.title),
        ("{{header}}", service.key_header),
        ("{{links}}", links),
        ("{{modules}}", "\n".join(f"<script>{text}</script>" for text in _modules())),
    ):
        text = text.replace(placeholder, value)
    return text


@cache
def policy() -> str:
    """The Content-Security-Policy of every page: its own scripts and nothing else.

    One policy for all, because the page that asks for a key writes the page that it then gets
    into its own document.
    """
    texts = [*_modules(), *(found for name in _NAMES for found in _SCRIPT.findall(_source(name)))]
    hashes = dict.fromkeys(_hash(text) for text in texts)
    return (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self';"
        f" script-src {' '.join(hashes)}; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )


def _hash(script: str) -> str:
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


@cache
def _modules() -> tuple[str, ...]:
    """The scripts of the page for traces, one small module per view."""
    found = sorted((_folder() / "observe").iterdir(), key=lambda file: file.name)
    return tuple(f"\n{_read(one)}" for one in found)


def _source(name: str) -> str:
    return _read(_folder() / f"{name}.html")


def _folder() -> Traversable:
    return files(__name__.rpartition(".")[0])


def _read(file: Traversable) -> str:
    return file.read_text(encoding="utf-8")
