"""Every error code that the API documents, and every audit action of the contract, is provoked."""

from collections.abc import Mapping
from typing import Any

from september.errors import FLEET_STATUS
from september.fleet.instances import Operation
from september.http.orchestrator.app import ENDPOINTS, MAX_BODY_BYTES
from september.http.orchestrator.routes.docs import API

from .api import ADMIN, Api, StagedApi, served, serving
from .stage import eventually, found, staged

CONTRACT_ACTIONS = {
    "provision",
    "start",
    "stop",
    "wake",
    "destroy",
    "rotate_key",
    "health_check",
    "health_failed",
    "auto_restart_start",
    "auto_restart_success",
    "auto_restart_failed",
    "auto_restart_gave_up",
    "policy_register",
    "policy_update",
    "admit_denied",
}
"""Contract, section 18.11."""


class Provoked:
    """Refusals as they came, each checked for its envelope and its status."""

    def __init__(self, api: Api, key: Mapping[str, str], codes: set[str] | None = None) -> None:
        self._api = api
        self.key = key
        self.codes: set[str] = set() if codes is None else codes

    def of(self, api: Api) -> "Provoked":
        """The same with another orchestrator."""
        return Provoked(api, self.key, self.codes)

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> None:
        """Ask for what will be refused."""
        answer = await self._api.ask(method, path, body, **{**self.key, **ADMIN, **headers})
        error = answer.json()["error"]
        assert answer.json().keys() == {"error"} and {"code", "message"} <= error.keys()
        wanted = FLEET_STATUS[error["code"]]
        assert answer.status_code in (wanted, 422 if error["code"] == "INVALID_REQUEST" else wanted)
        assert len(error["message"]) > 10
        assert not any(secret in answer.text for secret in (*self.key.values(), "admin-key"))
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
        self.codes.add(error["code"])


def documented() -> set[str]:
    """The codes that some endpoint says it may answer."""
    anywhere = {code for codes in API.anywhere.values() for code in codes}
    given = {"INVALID_REQUEST", "PAYLOAD_TOO_LARGE"}
    return anywhere | given | {code for one in ENDPOINTS for code in one.refusals}


async def test_every_documented_code_is_provoked_and_has_the_nested_envelope(
    database_url: str,
) -> None:
    images = ("no-such:1", "dumb:1")
    async with served(
        database_url, orch_port_max=9003, orch_boot_timeout_s=0.3, orch_engine_image_allow=images
    ) as api:
        key = await api.register(max_engines=10)
        no = Provoked(api, key)
        await _who_is_wrong(no)
        await _what_is_wrong(no, api)
        await _when_it_is_wrong(no, api)
        await _limits(no, api)
        await _the_world(no, api)
        await _without_its_database(no, database_url)
        assert no.codes >= documented(), documented() - no.codes
        assert no.codes >= FLEET_STATUS.keys() - {"DRAINING", "MIGRATION_REQUIRED"}


async def _who_is_wrong(no: Provoked) -> None:
    await no.ask("GET", "/engines", **{"X-Platform-Key": "pk-sept-no"})
    await no.ask("GET", "/products", **{"X-Admin-Key": "no"})


async def _what_is_wrong(no: Provoked, api: StagedApi) -> None:
    await no.ask("POST", "/engines/provision", {"user": "ada"})
    await no.ask("POST", "/engines/a%07b/admit", {"auto_provision": True})
    await no.ask("POST", f"/engines/{'x' * 257}/admit", {"auto_provision": True})
    await no.ask("POST", "/engines/a%00b/admit", {})
    await no.ask("POST", "/engines/provision", {"user_id": "x" * (MAX_BODY_BYTES + 1)})
    await no.ask("POST", "/engines/provision", {"user_id": "eve", "engine_version": "evil:1"})
    await no.ask("PUT", "/products/nonsense/policy", {"policy": {}})
    await no.ask("POST", "/products/register", {"slug": "shop", "display_name": "again"})
    await no.ask("GET", "/admin/nonsense")
    await no.ask("DELETE", "/status")
    assert await api.stage.value("SELECT count(*) FROM engines") == 0


async def _when_it_is_wrong(no: Provoked, api: StagedApi) -> None:
    await no.ask("GET", "/engines/nobody")
    engine = await _provision(api, no, "ada")
    await no.ask("POST", "/engines/provision", {"user_id": "ada"})
    await no.ask("POST", "/engines/ada/start")
    api.stage.world.newest[engine] = 2**40  # another orchestrator has gone ahead
    await no.ask("POST", "/engines/ada/stop")
    del api.stage.world.newest[engine]
    await api.stage.reconcile()
    await no.ask("POST", "/engines/ada/stop")


async def _provision(api: StagedApi, no: Provoked, user: str) -> Any:
    await api.ask("POST", "/engines/provision", {"user_id": user}, **no.key)
    return await api.stage.value("SELECT id FROM engines WHERE user_id = $1", user)


async def _limits(no: Provoked, api: StagedApi) -> None:
    for user, image in (("b", "no-such:1"), ("c", "dumb:1")):  # BACKEND_ERROR, BOOT_TIMEOUT
        api.stage.world.bad_images.add(image)
        body = {"user_id": user, "engine_version": image}
        await no.ask("POST", "/engines/provision", body)
    await no.ask("POST", "/engines/d/admit", {"auto_provision": True})  # three ports, three rows
    products = (await api.get("/products"))["products"]
    product = next(one for one in products if one["slug"] == "shop")
    path = f"/products/{product['product_id']}/policy"
    for policy in ({"max_engines": 1}, {"rate_limit_rpm": 0}):
        await api.ask("PUT", path, {"policy": policy}, **ADMIN)
        await no.ask("POST", "/engines/d/admit", {"auto_provision": True})
    await api.ask("PUT", path, {"policy": {}}, **ADMIN)


async def _the_world(no: Provoked, api: StagedApi) -> None:
    world = api.stage.world

    async def bug(verb: str, _: object) -> None:
        if verb == "start":
            raise RuntimeError("a bug")

    world.fault = bug
    await no.ask("POST", "/engines/ada/start")
    world.fault, world.reachable = None, False
    await no.ask("DELETE", "/engines/ada")
    world.reachable = True
    await api.stage.reconcile()


async def _without_its_database(no: Provoked, url: str) -> None:
    async with staged(url) as stage, serving(stage.fleet) as api:  # unrecorded, of necessity
        await stage.fleet.resources.database.close()
        for path in ("/engines/ada", "/health"):
            await no.of(api).ask("GET", path)


async def test_every_action_of_the_contract_is_written_down(database_url: str) -> None:
    async with served(database_url, orch_boot_timeout_s=0.2) as api:
        key = await api.register(max_engines=1)
        products = (await api.get("/products"))["products"]
        product = next(one for one in products if one["slug"] == "shop")["product_id"]
        await api.ask("PUT", f"/products/{product}/policy", {"policy": {"max_engines": 1}}, **ADMIN)
        await api.ask("POST", "/engines/ada/admit", {"auto_provision": True}, **key)
        await api.ask("POST", "/engines/bob/admit", {"auto_provision": True}, **key)  # denied
        for verb in ("rotate-key", "stop", "start"):
            await api.ask("POST", f"/engines/ada/{verb}", **key)
        stage = api.stage
        engine_id = next(iter(stage.world.engines))
        row = await stage.row(engine_id)
        assert row is not None
        found(await stage.perform(row, Operation.SLEEP))
        await api.ask("POST", "/engines/ada/admit", {"auto_wake": True}, **key)
        await stage.probe()
        stage.backend.die(engine_id)

        async def said(action: str) -> bool:
            return action in await stage.actions(row)

        await eventually(lambda: said("auto_restart_success"))
        stage.world.engines[engine_id].answers = False
        await stage.probe(3)
        await eventually(lambda: said("auto_restart_gave_up"), within=20)
        await api.ask("DELETE", "/engines/ada", **key)
        log = (await api.get("/admin/audit", limit=1000))["entries"]
        actions = {entry["action"] for entry in log}
        assert actions >= CONTRACT_ACTIONS, CONTRACT_ACTIONS - actions
        by = {entry["action"]: entry["actor"] for entry in log}
        assert by["policy_update"] == "admin" and by["provision"] == by["stop"] == "shop"
        assert by["auto_restart_start"] == by["health_check"] == "system"
        assert not stage.world.engines
