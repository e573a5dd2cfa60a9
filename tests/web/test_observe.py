"""The page for traces in a real browser."""

import re
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Any, cast
from urllib.parse import quote as url_quote

import trio

from september.actors.testing import wait_idle
from september.brain.sandbox.sandbox import RunCommand
from tests.brain.raven.stage import Recorded, recorded
from tests.brain.raven.test_why import until

from .browser import Browser, browser, in_browser, shot

__all__ = ["browser"]
pytestmark = in_browser

LOOK = {"tool": "bash", "input": {"command": "ls /nowhere"}}
NOTE = {"tool": "working_memory_set", "input": {"key": "place", "value": "/nowhere"}}
ASKS = {"tool": "write_file", "input": {"path": "/etc/september", "content": "x"}}
ANSWER = "There is no such folder, as far as I can see from here. " * 3
RULES: tuple[dict[str, Any], ...] = (
    {"match": "look", "step": 0, "steps": [{"text": "Let me look. ", "delay_ms": 20}, LOOK, NOTE]},
    {"match": "fail", "steps": [{"text": "Half of it "}, {"fault": "cut"}]},
    {"steps": [{"text": ANSWER, "delay_ms": 15}]},
)


WAITS: dict[str, Any] = {"step": 0, "steps": [{"text": "I shall write it. "}, ASKS]}


async def test_the_actors_are_a_live_tree(tmp_path: Path, browser: Browser) -> None:
    def look(page: Any, width: int) -> None:
        page.wait_for_selector("td >> text=coordinator")
        assert "live" in page.inner_text("#state")
        names = page.locator("tbody td:first-child a").all_inner_texts()
        assert names[0] == "engine" and names[names.index("turns") + 1].startswith("turn ")
        shot(page, "actors", width)
        page.locator("label", has_text="busy").click()
        page.wait_for_selector("tbody tr >> nth=9", state="detached")
        assert re.search(r"Begin for [\d.]+ m?s, waits for approvals", page.text_content("tbody"))

    async with recorded(tmp_path, WAITS) as stage, trio.open_nursery() as nursery:
        nursery.start_soon(stage.turn)
        await until(partial(asked, stage))
        await browser.visit(stage.url, look)
        nursery.cancel_scope.cancel()


async def asked(stage: Recorded) -> bool:
    return bool((await stage.get("/hitl/pending"))["pending"])


async def test_without_traces_the_list_says_what_to_do(tmp_path: Path, browser: Browser) -> None:
    def look(page: Any, width: int) -> None:
        page.keyboard.press("Tab")
        page.click("nav >> text=Traces")
        page.wait_for_selector(".empty")
        assert "september chat" in page.inner_text(".empty")
        shot(page, "traces-empty", width)

    async with recorded(tmp_path, *RULES) as stage:
        await browser.visit(stage.url, look)


async def test_a_turn_is_found_and_shown_as_timeline_waterfall_and_sequence(
    tmp_path: Path, browser: Browser
) -> None:
    def look(page: Any, width: int) -> None:
        page.click("nav >> text=Traces")
        page.wait_for_selector("tbody tr")
        shot(page, "traces", width)
        page.locator("tbody a", has_text="POST /execute").first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector(".fall")
        assert "execute_tool bash" in page.inner_text(".fall")
        assert page.locator(".lane .token").count() > 3
        lanes = page.locator(".lanes .name:not(.head)")
        named = lanes.evaluate_all("all => all.map(one => one.firstChild.data)")
        assert sorted(named) == ["bash", "model call", "model call", NOTE["tool"]]
        assert named[0] == named[3] == "model call"
        assert page.locator("svg text", has_text="StartTurn").count() == 1
        shot(page, "trace", width, whole=False)
        page.locator("h3", has_text="Sequence").scroll_into_view_if_needed()
        shot(page, "sequence", width, whole=False)
        page.get_by_label("why did bash go so?").click()
        page.wait_for_selector(".verdict")
        assert "execute_tool bash: nonzero_exit" in page.inner_text(".verdict")
        page.click(".because .root a")
        page.wait_for_selector("details[open] summary:focus")
        assert "execute_tool bash" in page.inner_text("details[open] summary")

    async with recorded(tmp_path, *RULES) as stage:
        await stage.turn("look")
        await browser.visit(stage.url, look)


async def test_the_timeline_shows_how_long_a_turn_waited_for_a_person(
    tmp_path: Path, browser: Browser
) -> None:
    def look(page: Any, width: int) -> None:
        page.click("nav >> text=Traces")
        page.locator("tbody a", has_text="POST /execute").last.click()
        page.wait_for_selector(".lanes")
        assert "waits for you: permission" in page.inner_text(".lanes")
        assert "waited for you" in page.inner_text(".facts >> nth=1")
        assert page.locator(".lane .hitl").count() == 1
        shot(page, "timeline", width, whole=False)

    async with recorded(tmp_path, WAITS, {"steps": [{"text": ANSWER, "delay_ms": 10}]}) as stage:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stage.turn)
            await until(partial(answered, stage))
        await browser.visit(stage.url, look)


async def answered(stage: Recorded) -> bool:
    """Let half a second pass, as a person does, and say yes."""
    if not await asked(stage):
        return False
    await trio.sleep(0.3)
    answer = {"task_id": "task", "answer": "yes"}
    return (await stage.http.post("/hitl/respond", json=answer)).status_code == 200


async def test_what_a_tool_prints_is_shown_and_never_run(tmp_path: Path, browser: Browser) -> None:
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
        await browser.visit(stage.url, look)


async def test_events_are_listed_by_kind_and_lead_to_their_cause(
    tmp_path: Path, browser: Browser
) -> None:
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
        await browser.visit(stage.url, look)


async def test_a_restart_leads_to_the_message_that_killed_the_actor(
    tmp_path: Path, browser: Browser
) -> None:
    def look(page: Any, width: int) -> None:
        page.wait_for_selector("text=why did sandbox?")
        page.click("text=why did sandbox?")
        page.wait_for_selector(".verdict")
        assert "engine/sandbox crashed" in page.inner_text(".verdict")
        assert "The message that killed it" in page.inner_text("main")
        page.wait_for_selector("text=spawn sandbox, incarnation 2")
        shot(page, "restart", width)

    async with recorded(tmp_path, *RULES) as stage:
        broken = RunCommand("uname -sr", cast("Path", None), ())
        stage.engine.sandbox.cast(cast("Any", broken))
        await wait_idle(stage.engine.tree)
        await until(partial(restarted, stage))
        await browser.visit(stage.url, look)


async def restarted(stage: Recorded) -> bool:
    actors = (await stage.get("/actors"))["actors"]
    return any(one["restarts"] for one in actors)


async def test_why_names_the_cause_of_a_failed_turn(tmp_path: Path, browser: Browser) -> None:
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
        await browser.visit(stage.url, look)
