"""The orchestrator's page in a real browser: the fleet, its actors, its traces."""

import re
from functools import partial
from typing import Any

import pytest
import trio

from tests.web.test_observe import browse, in_own_thread, pytestmark, shot

from .api import ADMIN, served

__all__ = ["pytestmark"]


async def test_the_fleet_is_shown_by_state_with_its_boots_and_audit(database_url: str) -> None:
    def look(page: Any, width: int) -> None:
        page.wait_for_selector(".tiles")
        texts: list[str] = page.locator(".tile").all_inner_texts()
        tiles = {name: value for value, name in (text.split("\n") for text in texts)}
        assert tiles["running"] == "1" and tiles["stopped"] == "1"
        assert re.fullmatch(r"[\d.]+ (ms|s)", tiles["boot, median"])
        assert "provision" in page.inner_text("main")
        shot(page, "fleet", width)
        page.click("td a >> text=ada")
        page.wait_for_selector(".verdict")
        page.click("nav >> text=Actors")
        page.wait_for_selector("td >> text=discovery")
        page.click("nav >> text=Traces")
        page.locator("tbody a", has_text="admit").first.click()
        page.wait_for_selector(".fall")
        assert "backend create" in page.inner_text(".fall")

    async with served(database_url) as api:
        key = await api.register()
        for user in ("ada", "grace"):
            await api.ask("POST", f"/engines/{user}/admit", {"auto_provision": True}, **key)
        assert (await api.ask("POST", "/engines/grace/stop", **key)).status_code == 200
        await visited(api.url, look)


async def test_an_empty_fleet_says_what_to_do(database_url: str) -> None:
    def look(page: Any, width: int) -> None:
        page.wait_for_selector(".empty")
        assert "september fleet" in page.inner_text("main")
        shot(page, "fleet-empty", width)

    async with served(database_url) as api:
        await visited(api.url, look)


@pytest.mark.parametrize("path", ["/observe", "/traces", "/actors"])
async def test_without_the_admins_key_nothing_is_shown(path: str, database_url: str) -> None:
    async with served(database_url) as api:
        answer = await api.http.get(api.url + path, headers={"Accept": "text/html"})
    assert answer.status_code == 401
    shows_form = "needs the key of the September orchestrator" in answer.text
    assert shows_form == (path == "/observe")


async def visited(url: str, look: Any) -> None:
    work = partial(browse, url, look, "light", ADMIN["X-Admin-Key"])
    await trio.to_thread.run_sync(in_own_thread, work)
