"""The page for traces in a real browser; SCREENSHOTS=docs/screenshots keeps what it looked like."""

import asyncio  # noqa: TID251  # Playwright's own loop, in a thread of its own
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.brain.raven.stage import Recorded, recorded
from tests.e2e.harness import KEY

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="NO BROWSER TESTS: pip install playwright"
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="NO BROWSER TESTS: apt-get install chromium"),
    pytest.mark.timeout(100),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

LOOK = {"tool": "bash", "input": {"command": "ls /nowhere"}}
ANSWER = "There is no such folder, as far as I can see from here. " * 3
RULES: tuple[dict[str, Any], ...] = (
    {"match": "look", "step": 0, "steps": [{"text": "Let me look. "}, LOOK]},
    {"match": "fail", "steps": [{"text": "Half of it "}, {"fault": "cut"}]},
    {"steps": [{"text": ANSWER, "delay_ms": 15}]},
)
WIDTHS = (1280, 390)


def _note(errors: list[str], error: object) -> None:
    errors.append(str(error))


def in_own_thread(work: Callable[[], None]) -> None:
    """Run Playwright where no event loop has ever been: trio's threads are used again, and
    trio-asyncio, once imported, would hand out loops of its own.
    """

    def alone() -> None:
        policy = asyncio.DefaultEventLoopPolicy()  # pyright: ignore[reportDeprecated]  # needed here
        asyncio.set_event_loop_policy(policy)  # pyright: ignore[reportDeprecated]  # needed here
        work()

    with ThreadPoolExecutor(max_workers=1) as pool:
        pool.submit(alone).result()


def browse(url: str, look: Callable[[Any, int], None], scheme: str = "light") -> None:
    """Open the page in Chromium at both widths; nothing may be logged as an error."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            errors: list[str] = []
            page.on("pageerror", partial(_note, errors))
            page.goto(f"{url}/observe")
            page.fill("#key", KEY)
            page.click("button")
            page.wait_for_selector("nav a[aria-current]")
            look(page, width)
            assert errors == []
            page.close()
        browser.close()


def shot(page: Any, name: str, width: int) -> None:
    """Check that nothing is wider than the window; keep a picture if asked to."""
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0, f"{name} is {wide} px too wide at {width} px"
    folder = os.environ.get("SCREENSHOTS")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}-{width}.png", full_page=name != "trace")


async def seen(stage: Recorded, look: Callable[[Any, int], None], scheme: str = "light") -> None:
    await trio.to_thread.run_sync(in_own_thread, partial(browse, stage.url, look, scheme))


async def test_the_actors_are_a_live_tree(tmp_path: Path) -> None:
    def look(page: Any, width: int) -> None:
        page.wait_for_selector("td >> text=coordinator")
        assert "live" in page.inner_text("#state")
        assert page.inner_text("tbody tr:first-child td:first-child") == "engine"
        shot(page, "actors", width)

    async with recorded(tmp_path, *RULES) as stage:
        await seen(stage, look)


async def test_without_traces_the_list_says_what_to_do(tmp_path: Path) -> None:
    def look(page: Any, width: int) -> None:
        page.keyboard.press("Tab")
        page.click("nav >> text=Traces")
        page.wait_for_selector(".empty")
        assert "september chat" in page.inner_text(".empty")
        shot(page, "traces-empty", width)

    async with recorded(tmp_path, *RULES) as stage:
        await seen(stage, look)


async def test_a_turn_is_found_and_shown_as_timeline_waterfall_and_sequence(tmp_path: Path) -> None:
    def look(page: Any, width: int) -> None:
        page.click("nav >> text=Traces")
        page.wait_for_selector("tbody tr")
        shot(page, "traces", width)
        page.locator("tbody a", has_text="POST /execute").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".fall")
        assert "execute_tool bash" in page.inner_text(".fall")
        assert page.locator("svg .tick").count() > 3
        assert page.locator("svg text", has_text="StartTurn").count() == 1
        shot(page, "trace", width)
        if os.environ.get("SCREENSHOTS"):
            page.locator("h3", has_text="Sequence").scroll_into_view_if_needed()
            page.screenshot(path=f"{os.environ['SCREENSHOTS']}/sequence-{width}.png")

    async with recorded(tmp_path, *RULES) as stage:
        await stage.turn("look")
        await seen(stage, look, "dark")


async def test_why_names_the_cause_of_a_failed_turn(tmp_path: Path) -> None:
    def look(page: Any, width: int) -> None:
        page.click("nav >> text=Why")
        page.wait_for_selector(".empty")
        page.fill("input[name=of]", "task")
        page.keyboard.press("Enter")
        page.wait_for_selector(".verdict")
        assert "attempt scripted: cut" in page.inner_text(".verdict")
        shot(page, "why", width)

    async with recorded(tmp_path, *RULES) as stage:
        await stage.turn("fail")
        await seen(stage, look)
