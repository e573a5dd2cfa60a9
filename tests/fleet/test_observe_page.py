"""The orchestrator's page in a real browser: the fleet, its actors, its traces."""

import re
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

import httpx2
import pytest
import trio

from september.fleet.backends.backend import BackendError
from september.fleet.instances import Engine, Operation
from tests.web.browser import Browser, browser, in_browser, shot

from .api import ADMIN, StagedApi, served
from .stage import Stage, eventually, found

__all__ = ["browser"]
pytestmark = in_browser


STATES = {
    "running": 2,
    "sleeping": 1,
    "stopped": 1,
    "provisioning": 1,
    "destroying": 1,
    "failed": 1,
}


async def test_the_fleet_is_shown_by_state_with_its_boots_and_audit(
    database_url: str, browser: Browser
) -> None:
    def look(page: Any, width: int) -> None:
        page.wait_for_selector(".tiles")
        texts: list[str] = page.locator(".tile").all_inner_texts()
        tiles = {name: value for value, name in (text.split("\n") for text in texts)}
        assert {name: int(tiles[name]) for name in STATES} == STATES
        assert re.fullmatch(r"[\d.]+ (ms|s)", tiles["boot, median"]) and tiles["restarts"] == "1"
        assert "no space left on device" in page.inner_text("main")
        shot(page, "fleet", width)
        page.click("button.tile >> text=failed")
        page.wait_for_selector("td a >> text=ada", state="detached")
        assert page.url.endswith("status=failed")
        page.click("td a >> text=alan")
        page.wait_for_selector(".verdict")
        assert "no space left on device" in page.inner_text(".verdict")
        page.click("nav >> text=Actors")
        page.wait_for_selector("td >> text=discovery")
        page.click("nav >> text=Traces")
        page.locator("tbody a", has_text="ada/admit").first.click()
        page.wait_for_selector(".fall")
        assert "backend create" in page.inner_text(".fall")

    async with (
        served(database_url, orch_restart_max_attempts=1) as api,
        trio.open_nursery() as nursery,
    ):
        await in_every_state(api, nursery)
        await browser.visit(api.url, look, key=ADMIN["X-Admin-Key"])
        nursery.cancel_scope.cancel()


async def in_every_state(api: StagedApi, nursery: trio.Nursery) -> None:
    """Bring Engines of seven users into the states of `STATES`, on the ways that lead there."""
    stage, key = api.stage, await api.register()
    for user in ("ada", "barbara", "grace", "margaret", "tim"):
        await api.ask("POST", f"/engines/{user}/admit", {"auto_provision": True}, **key)
    await crash_once(stage, await engine_of(stage, "barbara"))
    assert (await api.ask("POST", "/engines/grace/stop", **key)).status_code == 200
    found(await stage.perform(await engine_of(stage, "margaret"), Operation.SLEEP))
    tims = (await engine_of(stage, "tim")).id

    async def fault(verb: str, engine_id: UUID | None) -> None:
        if verb in ("destroy", "remove") and engine_id == tims:
            await trio.sleep_forever()
        if verb == "create":
            raise BackendError("no space left on device")

    stage.world.fault = fault
    nursery.start_soon(partial(held, api, "DELETE", "/engines/tim", **key))
    await api.ask("POST", "/engines/alan/admit", {"auto_provision": True}, **key)
    await eventually(partial(counted, api, "failed"))

    async def hold(verb: str, engine_id: UUID | None) -> None:
        if verb == "create" or engine_id == tims:
            await trio.sleep_forever()

    stage.world.fault = hold
    body = {"user_id": "linus"}
    nursery.start_soon(partial(held, api, "POST", "/engines/provision", body, **key))
    for status in STATES:
        await eventually(partial(counted, api, status))


async def held(api: StagedApi, method: str, path: str, body: Any = None, **key: str) -> None:
    """Ask for what will not be done; the client may give up before the test is over."""
    with suppress(httpx2.ReadTimeout):
        await api.ask(method, path, body, **key)


async def crash_once(stage: Stage, engine: Engine) -> None:
    """Stop answering until it is restarted."""
    stage.instance(engine).answers = False
    await stage.probe(3)
    stage.instance(engine).answers = True

    async def healed() -> bool:
        return "auto_restart_success" in await stage.actions(engine)

    await eventually(healed)


async def engine_of(stage: Stage, user: str) -> Engine:
    engine_id = await stage.value("SELECT id FROM engines WHERE user_id = $1", user)
    row = await stage.row(UUID(str(engine_id)))
    assert row is not None
    return row


async def counted(api: StagedApi, status: str) -> bool:
    total = (await api.get("/admin/engines", status=status, limit=1))["total"]
    return bool(total == STATES[status])


async def test_an_empty_fleet_says_what_to_do(database_url: str, browser: Browser) -> None:
    def look(page: Any, width: int) -> None:
        page.wait_for_selector(".empty")
        assert "september fleet" in page.inner_text("main")
        shot(page, "fleet-empty", width)

    async with served(database_url) as api:
        await browser.visit(api.url, look, key=ADMIN["X-Admin-Key"])


@pytest.mark.parametrize("path", ["/observe", "/traces", "/actors"])
async def test_without_the_admins_key_nothing_is_shown(path: str, database_url: str) -> None:
    async with served(database_url) as api:
        answer = await api.http.get(api.url + path, headers={"Accept": "text/html"})
    assert answer.status_code == 401
    shows_form = "needs the key of the September orchestrator" in answer.text
    assert shows_form == (path == "/observe")
