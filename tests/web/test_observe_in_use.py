"""The page in somebody's hands: keys, bookmarks, what comes in while one reads, a lost stream."""

from pathlib import Path
from typing import Any

import httpx2

from tests.brain.raven.stage import recorded
from tests.e2e.harness import KEY

from .browser import Browser, browser, complaints, in_browser, shot
from .test_observe import ANSWER, RULES

__all__ = ["browser"]
pytestmark = in_browser

FOCUS = """() => {
    const one = document.activeElement, style = getComputedStyle(one);
    const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
    const { left, width } = one.getBoundingClientRect();
    return [one.textContent || one.name || one.type, seen && left >= 0 && width > 0];
}"""


def focused(page: Any) -> str:
    """The text of what has the focus, which everybody must see."""
    text, seen = page.evaluate(FOCUS)
    assert seen, f"nobody sees that {text!r} has the focus"
    return str(text)


def origin(page: Any) -> str:
    return str(page.url).partition("#")[0]


async def test_everything_is_done_with_keys(tmp_path: Path, browser: Browser) -> None:
    def look(page: Any, width: int) -> None:
        page.wait_for_selector("tbody tr")
        walked: list[str] = []
        for _ in range(9):
            page.keyboard.press("Tab")
            walked.append(focused(page))
        views = ["Actors", "Traces", "Why", "Events", "API", "?"]
        assert walked == ["Skip to the content", *views, "actor", "checkbox"]
        page.keyboard.press("?")
        assert page.locator("dialog[open]").count() == 1
        shot(page, "keys", width, whole=False)
        page.keyboard.press("Escape")
        assert page.locator("dialog[open]").count() == 0
        page.keyboard.press("2")
        page.wait_for_selector("tbody tr >> nth=1")
        page.keyboard.press("/")
        assert focused(page) == "task_id"
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        page.keyboard.press("ArrowDown")
        chosen = page.evaluate("document.activeElement.dataset.item")
        assert focused(page) == "POST /execute" and f"at={chosen}" in page.url
        page.keyboard.press("ArrowUp")
        page.keyboard.press("End")
        assert page.evaluate("document.activeElement.dataset.item") == chosen
        page.keyboard.press("Enter")
        page.wait_for_selector(".fall")
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        assert page.locator("details[open]").count() == 1
        page.keyboard.press("Escape")
        page.wait_for_selector(f"[data-item='{chosen}']:focus")

    async with recorded(tmp_path, *RULES) as stage:
        await stage.turn("look")
        await stage.turn("go", task_id="other")
        await browser.visit(stage.url, look)


async def test_a_bookmark_brings_back_view_filters_and_choice(
    tmp_path: Path, browser: Browser
) -> None:
    async with recorded(tmp_path, *RULES) as stage:
        await stage.turn("go", task_id="mine")
        await stage.turn("fail", task_id="other")
        (trace,) = (await stage.get("/traces", task_id="mine", message_type="StartTurn"))["traces"]
        (part,) = [
            line["row"]
            for line in (await stage.get(f"/traces/{trace['trace_id']}"))["lines"]
            if line["row"]["path"] == "attempt scripted"
        ]

        def look(page: Any, width: int) -> None:
            page.wait_for_selector(f"[data-item='{trace['trace_id']}']:focus")
            assert page.input_value("input[name=task_id]") == "mine"
            assert page.locator("tbody tr").count() == 1
            page.check("input[name=errors]")
            page.wait_for_selector(".empty")
            assert "task_id=mine" in page.url and "errors=true" in page.url
            page.goto(f"{origin(page)}#trace/{trace['trace_id']}?at={part['span_id']}")
            page.wait_for_selector("details[open] summary:focus")
            assert page.inner_text("details[open] summary") == "attempt scripted"
            page.goto(f"{origin(page)}#events?kind=error")
            page.wait_for_selector("tbody tr")
            assert page.input_value("select") == "error"
            page.goto(f"{origin(page)}#actors?actor=herald")
            page.wait_for_selector("tbody tr")
            assert page.locator("tbody tr").count() == 5

        at = f"#traces?task_id=mine&at={trace['trace_id']}"
        await browser.visit(stage.url, look, at=at, widths=(1280,))


async def test_what_comes_in_moves_nothing_under_the_reader(
    tmp_path: Path, browser: Browser
) -> None:
    async with recorded(tmp_path, *RULES) as stage:
        await stage.turn("look")

        def turn() -> None:
            headers, body = {"X-Engine-Key": KEY}, {"task_id": "next", "message": "go"}
            httpx2.post(f"{stage.url}/execute", headers=headers, json=body, timeout=20)

        def look(page: Any, width: int) -> None:
            page.wait_for_selector("tbody tr")
            page.keyboard.press("j")
            page.evaluate("window.kept = document.activeElement; scrollTo(0, 40)")
            handled = page.locator("tr[data-key='engine/tasks/coordinator'] td:nth-child(6)")
            before = handled.inner_text()
            turn()
            row = "tr[data-key='engine/tasks/coordinator']"
            page.wait_for_selector(f"{row} td:nth-child(6):not(:text-is('{before}'))")
            assert page.evaluate("document.activeElement === kept && scrollY === 40")
            page.goto(f"{origin(page)}#traces")
            page.wait_for_selector("tbody tr")
            shown, top = page.locator("tbody tr").count(), page.locator("table").bounding_box()["y"]
            turn()
            page.wait_for_selector("text=Show 1 new trace")
            assert page.locator("tbody tr").count() == shown
            assert page.locator("table").bounding_box()["y"] == top
            assert complaints(page) == []
            page.click("text=Show 1 new trace")
            page.wait_for_selector(f"tbody tr >> nth={shown}")

        await browser.visit(stage.url, look, widths=(1280,))


async def test_a_trace_grows_while_its_turn_runs(tmp_path: Path, browser: Browser) -> None:
    slow = {"steps": [{"text": ANSWER, "delay_ms": 250}]}
    async with recorded(tmp_path, slow) as stage:

        def look(page: Any, width: int) -> None:
            headers, body = {"X-Engine-Key": KEY}, {"task_id": f"t{width}", "message": "go"}
            url = f"{stage.url}/execute"
            with httpx2.stream("POST", url, headers=headers, json=body, timeout=20) as turn:
                trace_id = turn.headers["traceparent"].split("-")[1]
                lines = turn.iter_lines()
                next(lines)
                page.goto(f"{origin(page)}#trace/{trace_id}")
                page.wait_for_selector(".fall summary")
                page.locator(".fall summary").first.click()
                assert page.locator("summary", has_text="invoke_agent").count() == 0
                for _ in lines:
                    pass
            page.wait_for_selector("summary:has-text('invoke_agent')")
            page.wait_for_selector(".lanes .token")
            assert page.locator("details[open]").count() == 1

        await browser.visit(stage.url, look, widths=(1280,))


async def test_a_lost_stream_is_told_and_comes_back(tmp_path: Path, browser: Browser) -> None:
    def look(page: Any, width: int) -> None:
        page.wait_for_selector("tbody tr")
        url, headers = f"{origin(page)}/../actors", {"X-Engine-Key": KEY}
        event = f"id: 1\nevent: actors\ndata: {page.request.get(url, headers=headers).text()}\n\n"
        draining = {"error": "DRAINING", "message": "it stops"}
        breaks: list[dict[str, Any]] = [
            {"body": event, "content_type": "text/event-stream"},
            {"status": 503, "json": draining},
        ]

        def cut(route: Any) -> None:
            if breaks:
                route.fulfill(**breaks.pop(0))
            else:
                route.continue_()

        page.route("**/actors/stream*", cut)
        page.goto(f"{origin(page)}#why")
        page.goto(f"{origin(page)}#actors")
        page.wait_for_selector("#notice:visible")
        assert "Connection lost" in page.inner_text("#notice")
        assert "Trying again in 1 s" in page.inner_text("#notice")
        assert page.locator("tbody tr").count() > 20 and page.locator("#state.live").count() == 0
        shot(page, "lost", width, whole=False)
        page.wait_for_selector("#notice", state="hidden")
        page.wait_for_selector("#state.live")
        assert not breaks

    async with recorded(tmp_path, *RULES) as stage:
        await browser.visit(stage.url, look, widths=(390,))


def abort(route: Any) -> None:
    route.abort()


def refuse(route: Any) -> None:
    body = {"error": "INVALID_KEY", "message": "this key is no longer good"}
    route.fulfill(status=401, json=body)


async def test_a_service_that_is_gone_or_refuses_is_told_apart(
    tmp_path: Path, browser: Browser
) -> None:
    def look(page: Any, width: int) -> None:
        page.route("**/traces?*", abort)
        page.click("nav >> text=Traces")
        page.wait_for_selector("text=does not answer")
        page.unroute("**/traces?*")
        page.click("text=Try again")
        page.wait_for_selector("text=No trace fits")
        page.route("**/observability/*", refuse)
        page.click("nav >> text=Events")
        page.wait_for_selector("text=this key is no longer good")
        page.click("text=Give another key")
        page.wait_for_selector("#key")

    async with recorded(tmp_path, *RULES) as stage:
        await browser.visit(stage.url, look, widths=(1280,))


async def test_what_could_not_be_recorded_is_said_on_every_view(
    tmp_path: Path, browser: Browser
) -> None:
    def lossy(route: Any) -> None:
        answer = route.fetch()
        route.fulfill(json={**answer.json(), "losses": {"overload": 1200, "store": 34}})

    def look(page: Any, width: int) -> None:
        assert not page.locator("#losses").is_visible()
        page.route("**/traces?*", lossy)
        for view in ("traces", "why", "events", "actors"):
            page.goto(f"{origin(page)}#{view}")
            page.wait_for_selector("#losses:has-text('1,234 observations'):visible")
        assert "1,200 under overload, 34 that the store" in page.inner_text("#losses")
        page.wait_for_selector("tbody tr")
        shot(page, "losses", width, whole=False)

    async with recorded(tmp_path, *RULES) as stage:
        await browser.visit(stage.url, look, widths=(390,))


async def test_who_wants_no_motion_gets_none(tmp_path: Path, browser: Browser) -> None:
    def look(page: Any, width: int) -> None:
        page.wait_for_selector("#state.live")
        assert page.evaluate("document.getAnimations().length") == 1
        page.emulate_media(reduced_motion="reduce")
        assert page.evaluate("document.getAnimations().length") == 0

    async with recorded(tmp_path, *RULES) as stage:
        await browser.visit(stage.url, look, widths=(1280,))
