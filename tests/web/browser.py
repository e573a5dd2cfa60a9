"""A real browser for a module of tests, and what a machine can see of a page: `sight.js`.

SCREENSHOTS=docs/screenshots keeps what the pages looked like.
"""

import asyncio  # noqa: TID251  # Playwright's own loop, in a thread of its own
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
import trio
from PIL import Image

from tests.e2e.harness import KEY

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="NO BROWSER TESTS: pip install playwright"
)
PROGRAM: Final = shutil.which("chromium") or shutil.which("chromium-browser")
in_browser = [
    pytest.mark.skipif(PROGRAM is None, reason="NO BROWSER TESTS: apt-get install chromium"),
    pytest.mark.timeout(100),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

WIDTHS: Final = (1280, 390)
SCHEMES: Final = ("light", "dark")
_COLORS: Final = 256
SIGHT: Final = (Path(__file__).parent / "sight.js").read_text()

Look: TypeAlias = Callable[[Any, int], None]


class Browser:
    """Chromium, and the thread that talks to it; its tests run in trio's."""

    def __init__(self, thread: ThreadPoolExecutor, chromium: Any) -> None:
        self._thread = thread
        self._chromium = chromium

    async def visit(
        self,
        url: str,
        look: Look,
        *,
        key: str = KEY,
        at: str = "",
        widths: tuple[int, ...] = WIDTHS,
    ) -> None:
        """Open a service's page at these widths; nothing may be logged as an error there."""
        for width in widths:
            work = partial(self._open, url, look, key, at, width)
            await trio.to_thread.run_sync(self._thread.submit(work).result)

    def _open(self, url: str, look: Look, key: str, at: str, width: int) -> None:
        page = self._chromium.new_page(viewport={"width": width, "height": 800})
        page.set_default_timeout(10_000)
        errors: list[str] = []
        page.on("pageerror", partial(_note, errors))
        page.on("console", partial(_note_console, errors))
        try:
            page.goto(f"{url}/observe{at}")
            page.fill("#key", key)
            page.click("button")
            page.wait_for_selector("nav a[aria-current]")
            look(page, width)
            assert errors == []
        finally:
            page.close()


def _note(errors: list[str], error: object) -> None:
    errors.append(str(error))


def _note_console(errors: list[str], message: Any) -> None:
    refused = message.text.startswith("Failed to load resource")  # a refusal is shown as text
    if message.type == "error" and not refused:
        errors.append(message.text)


@dataclass
class _Running:
    playwright: Any
    chromium: Any


def _launch() -> _Running:
    """Where no event loop has ever been: trio-asyncio, once imported, hands out its own."""
    policy = asyncio.DefaultEventLoopPolicy()  # pyright: ignore[reportDeprecated]  # needed here
    asyncio.set_event_loop_policy(policy)  # pyright: ignore[reportDeprecated]  # needed here
    playwright = sync_api.sync_playwright().start()
    chromium = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
    return _Running(playwright, chromium)


def _close(running: _Running) -> None:
    running.chromium.close()
    running.playwright.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a module's tests."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        running = thread.submit(_launch).result()
        yield Browser(thread, running.chromium)
        thread.submit(_close, running).result()


def shot(page: Any, name: str, width: int, *, whole: bool = True) -> None:
    """Look at the page in both schemes for what a person would complain of; keep pictures if asked.

    `whole` takes the page to its end, and not only the window.
    """
    page.mouse.move(0, 0)
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        found = complaints(page)
        assert found == [], f"{name}, {width} px, {scheme}: {found}"
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            dark = "-dark" if scheme == "dark" else ""
            taken = Image.open(BytesIO(page.screenshot(full_page=whole))).convert("RGB")
            small = taken.quantize(_COLORS)  # a third of the bytes, for the repository
            small.save(f"{folder}/{name}-{width}{dark}.png", optimize=True)
    page.emulate_media(color_scheme="light")


def complaints(page: Any) -> list[str]:
    """What is too wide, cut off, on top of something else, or too faint to read."""
    found: list[str] = page.evaluate(SIGHT)
    return found
