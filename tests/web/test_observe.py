"""The page for traces in a real browser; SCREENSHOTS=docs/screenshots keeps what it looked like."""

import asyncio  # noqa: TID251  # Playwright's own loop, in a thread of its own
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any
from urllib.parse import quote as url_quote

import pytest
import trio

from september.actors.testing import wait_idle
from tests.brain.raven.stage import Recorded, recorded
from tests.brain.raven.test_why import poison, until
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
ASKS = {"tool": "write_file", "input": {"path": "/etc/september", "content": "x"}}
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


def _note_console(errors: list[str], message: Any) -> None:
    refused = message.text.startswith("Failed to load resource")  # a refusal is shown as text
    if message.type == "error" and not refused:
        errors.append(message.text)


def browse(
    url: str, look: Callable[[Any, int], None], scheme: str = "light", key: str = KEY
) -> None:
    """Open the page in Chromium at both widths; nothing may be logged as an error."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in WIDTHS:
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page.set_default_timeout(10_000)
            errors: list[str] = []
            page.on("pageerror", partial(_note, errors))
            page.on("console", partial(_note_console, errors))
            page.goto(f"{url}/observe")
            page.fill("#key", key)
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
        page.screenshot(
            path=f"{folder}/{name}-{width}.png", full_page=name not in ("trace", "timeline")
        )


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
        assert page.locator(".lane .token").count() > 3
        lanes = page.locator(".lanes .name").all_inner_texts()
        expected = ("model call", "bash", "model call")
        assert all(lane.startswith(name) for lane, name in zip(lanes, expected, strict=True))
        assert page.locator("svg text", has_text="StartTurn").count() == 1
        shot(page, "trace", width)
        if os.environ.get("SCREENSHOTS"):
            page.locator("h3", has_text="Sequence").scroll_into_view_if_needed()
            page.screenshot(path=f"{os.environ['SCREENSHOTS']}/sequence-{width}.png")

    async with recorded(tmp_path, *RULES) as stage:
        await stage.turn("look")
        await seen(stage, look, "dark")


async def test_the_timeline_shows_how_long_a_turn_waited_for_a_person(tmp_path: Path) -> None:
    def look(page: Any, width: int) -> None:
        page.click("nav >> text=Traces")
        page.locator("tbody a", has_text="POST /execute").last.click()
        page.wait_for_selector(".lanes")
        assert "waits for you: permission" in page.inner_text(".lanes")
        assert "waited for you" in page.inner_text(".facts >> nth=1")
        assert page.locator(".lane .hitl").count() == 1
        shot(page, "timeline", width)

    rule = {"step": 0, "steps": [{"text": "I shall write it. "}, ASKS]}
    async with recorded(tmp_path, rule, {"steps": [{"text": ANSWER, "delay_ms": 10}]}) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.turn)
            await until(partial(answered, stage))
        await seen(stage, look)


async def answered(stage: Recorded) -> bool:
    """Let half a second pass, as a person does, and say yes."""
    if not (await stage.get("/hitl/pending"))["pending"]:
        return False
    await trio.sleep(0.3)
    answer = {"task_id": "task", "answer": "yes"}
    return (await stage.http.post("/hitl/respond", json=answer)).status_code == 200


async def test_what_a_tool_prints_is_shown_and_never_run(tmp_path: Path) -> None:
    told = {"traces": "tbody tr", "events": "tbody tr", "why": ".verdict, .empty"}
    hostile = "<img src=x onerror=window.owned=1><script>window.owned=1</script>'\"></td>"

    def look(page: Any, width: int) -> None:
        for place in ("traces", "events", f"why/{url_quote(hostile)}", "why/task"):
            page.goto(f"{page.url.partition('#')[0]}#{place}")
            page.wait_for_selector(told[place.partition("/")[0]])
        page.click("nav >> text=Traces")
        page.locator("tbody a", has_text="POST /execute").first.click()
        page.locator(".fall summary", has_text="execute_tool").first.click()
        assert "onerror=window.owned" in page.inner_text("details[open] .detail")
        assert page.evaluate("window.owned") is None
        assert page.locator("main img, main script").count() == 0

    command = {"tool": "bash", "input": {"command": f"echo {quote(hostile)}; exit 3"}}
    unknown = {"tool": "no_such_tool", "input": {hostile: hostile}}
    rule = {"step": 0, "steps": [command, unknown]}
    async with recorded(tmp_path, rule, {"steps": [{"text": hostile}]}) as stage:
        await stage.turn(hostile, task_id="task")
        await seen(stage, look)


async def test_events_are_listed_by_kind_and_lead_to_their_cause(tmp_path: Path) -> None:
    def look(page: Any, width: int) -> None:
        page.click("nav >> text=Events")
        page.wait_for_selector("tbody tr")
        shot(page, "events", width)
        page.select_option("select", "cache_hit_alert")
        page.wait_for_selector(".empty")
        page.select_option("select", "error")
        page.locator("tbody a").first.click()
        page.wait_for_selector(".verdict")
        assert "cut" in page.inner_text(".verdict")

    async with recorded(tmp_path, *RULES) as stage:
        await stage.turn("fail")
        await seen(stage, look)


async def test_a_restart_leads_to_the_message_that_killed_the_actor(tmp_path: Path) -> None:
    def look(page: Any, width: int) -> None:
        page.wait_for_selector("text=why did sandbox?")
        page.click("text=why did sandbox?")
        page.wait_for_selector(".verdict")
        assert "engine/sandbox crashed" in page.inner_text(".verdict")
        assert "The message that killed it" in page.inner_text("main")
        shot(page, "restart", width)

    async with recorded(tmp_path, *RULES) as stage:
        poison(stage.engine.sandbox)
        await wait_idle(stage.engine.tree)
        await until(partial(restarted, stage))
        await seen(stage, look, "dark")


async def restarted(stage: Recorded) -> bool:
    actors = (await stage.get("/actors"))["actors"]
    return any(one["restarts"] for one in actors)


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
