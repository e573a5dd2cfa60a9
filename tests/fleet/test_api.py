"""The orchestrator's API over a real server: the contract, its refusals, and fuzzing."""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import parser

from september.errors import FLEET_STATUS
from september.http.orchestrator.app import ENDPOINTS

from .api import ADMIN, served
from .stage import MASTER

SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")


async def test_the_life_of_an_engine_as_the_contract_has_it(database_url: str) -> None:
    async with served(database_url) as api:
        key = await api.register()
        made = await api.ask("POST", "/engines/provision", {"user_id": "ada/1 ü"}, **key)
        assert made.status_code == 200
        assert made.json().keys() == {"engine_id", "user_id", "status", "url", "api_key"}
        assert made.json()["status"] == "running"
        path = "/engines/ada%2F1%20%C3%BC"
        shown = (await api.ask("GET", path, **key)).json()
        assert shown.keys() == {
            "engine_id",
            "user_id",
            "status",
            "url",
            "api_key",
            "engine_version",
            "created_at",
            "last_health_at",
        }
        admitted = (await api.ask("POST", f"{path}/admit", {}, **key)).json()
        assert admitted == {
            "admitted": True,
            "engine": shown | {"last_health_at": admitted["engine"]["last_health_at"]},
        }
        bare = await api.http.post(f"{api.url}{path}/admit", headers=key)
        assert bare.json()["admitted"] is True
        rotated = (await api.ask("POST", f"{path}/rotate-key", **key)).json()
        assert rotated["api_key"] != shown["api_key"] and rotated["overlap_seconds"] == 60
        stopped = (await api.ask("POST", f"{path}/stop", **key)).json()
        assert stopped == {"status": "stopped", "engine_id": shown["engine_id"]}
        denied = (await api.ask("POST", f"{path}/admit", {"auto_wake": True}, **key)).json()
        assert denied == {"admitted": False, "engine": None, "reason": "engine_stopped"}
        assert (await api.ask("POST", f"{path}/start", **key)).json()["status"] == "running"
        listed = (await api.ask("GET", "/engines?status=running", **key)).json()
        assert listed["total"] == 1 and "api_key" not in listed["engines"][0]
        assert (await api.ask("GET", "/status", **key)).json()["health"] == "ok"
        assert (await api.ask("GET", "/metrics", **key)).json()["total_provisions"] == 1
        text = await api.ask("GET", "/metrics", **key, Accept="text/plain")
        assert text.text.endswith("# EOF\n") and 'status="running"} 1' in text.text
        families = {one.name: one for one in _families(text.text)}
        assert all(re.fullmatch("fleet_[a-z_]+", name) for name in families)
        assert families["fleet_provisions"].samples[0].value == 1
        everything = await api.http.get(f"{api.url}/admin/metrics", headers=ADMIN)
        assert "fleet_trace_lost_total 0" in everything.text
        gone = (await api.ask("DELETE", path, **key)).json()
        assert gone == {"status": "destroyed", "engine_id": shown["engine_id"]}


def _families(text: str) -> list[Metric]:
    """OpenMetrics text, read by the library that others read it with."""
    read: Callable[[str], Iterator[Metric]] = getattr(parser, "text_string_to_metric_families")  # noqa: B009  untyped there
    return list(read(text))


REFUSALS: list[tuple[str, str, Any, dict[str, str], int, str]] = [
    ("GET", "/engines", None, {}, 401, "INVALID_PLATFORM_KEY"),
    ("GET", "/engines", None, {"X-Platform-Key": "pk-sept-wrong"}, 401, "INVALID_PLATFORM_KEY"),
    ("POST", "/products/register", {}, {}, 401, "INVALID_ADMIN_KEY"),
    ("POST", "/products/register", {}, {"X-Admin-Key": "wrong"}, 401, "INVALID_ADMIN_KEY"),
    ("POST", "/products/register", {"slug": "x"}, ADMIN, 400, "INVALID_REQUEST"),
    (
        "POST",
        "/products/register",
        {"slug": "Not a slug", "display_name": "x"},
        ADMIN,
        422,
        "INVALID_REQUEST",
    ),
    (
        "POST",
        "/products/register",
        {"slug": "x", "display_name": "x", "policy": {"max_engine": 1}},
        ADMIN,
        400,
        "INVALID_REQUEST",
    ),
    ("PUT", "/products/nonsense/policy", {"policy": {}}, ADMIN, 404, "PRODUCT_NOT_FOUND"),
    ("GET", "/admin/nonsense", None, ADMIN, 404, "NOT_FOUND"),
    ("DELETE", "/admin/audit", None, ADMIN, 405, "METHOD_NOT_ALLOWED"),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "code"), REFUSALS)
async def test_a_refusal_has_its_status_its_code_and_the_nested_envelope(
    database_url: str,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    async with served(database_url) as api:
        answer = await api.ask(method, path, body, **headers)
        assert answer.status_code == status
        assert answer.json()["error"]["code"] == code


async def test_limits_are_429_with_retry_after(database_url: str) -> None:
    async with served(database_url) as api:
        key = await api.register(max_engines=1, rate_limit_rpm=2)
        first = await api.ask("POST", "/engines/a/admit", {"auto_provision": True}, **key)
        second = await api.ask("POST", "/engines/b/admit", {"auto_provision": True}, **key)
        third = await api.ask("POST", "/engines/a/admit", {}, **key)
        assert first.json()["admitted"] is True
        codes = [answer.json()["error"]["code"] for answer in (second, third)]
        assert codes == ["QUOTA_EXCEEDED", "RATE_LIMITED"]
        assert {second.status_code, third.status_code} == {429}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in (second, third))
        again = await api.http.post(
            f"{api.url}/products/register",
            json={"slug": "shop", "display_name": "x"},
            headers=ADMIN,
        )
        assert (again.status_code, again.json()["error"]["code"]) == (409, "PRODUCT_SLUG_EXISTS")


async def test_no_answer_but_an_engines_own_and_no_audit_entry_holds_a_key(
    database_url: str,
) -> None:
    async with served(database_url) as api:
        key = await api.register()
        made = await api.ask("POST", "/engines/provision", {"user_id": "ada"}, **key)
        secrets = [made.json()["api_key"], *key.values()]
        pages = [
            (await api.ask("GET", path, **ADMIN, **key)).text
            for path in ("/engines", "/admin/engines", "/admin/audit", "/products", "/metrics")
        ]
        assert not any(secret in page for secret in secrets for page in pages)


async def test_every_refusal_that_is_documented_has_a_status(database_url: str) -> None:
    async with served(database_url) as api:
        document = (await api.ask("GET", "/openapi.json")).json()
        assert len(document["paths"]) == len({endpoint.path for endpoint in ENDPOINTS})
        assert all(code in FLEET_STATUS for one in ENDPOINTS for code in one.refusals)
        assert "<html" in (await api.ask("GET", "/docs")).text


async def test_health_needs_the_database(database_url: str) -> None:
    async with served(database_url) as api:
        assert (await api.ask("GET", "/health")).json()["status"] == "ok"


async def test_fuzzing_every_endpoint_finds_no_5xx_and_no_key(
    database_url: str, tmp_path: Path
) -> None:
    async with served(database_url) as api:
        key = await api.register()
        made = await api.ask("POST", "/engines/provision", {"user_id": "ada"}, **key)
        report = tmp_path / "fuzz.har"
        command = [
            str(SCHEMATHESIS), "run", f"{api.url}/openapi.json",
            "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,"
            "response_schema_conformance",
            "--phases", "examples,coverage,fuzzing", "--max-examples", "15", "--seed", "1",
            "--generation-database", "none", "--exclude-path-regex", "/stream$",
            "--report", "har", "--report-har-path", str(report), "--output-sanitize", "false",
            "-H", f"X-Platform-Key: {key['X-Platform-Key']}", "-H", "X-Admin-Key: admin-key",
        ]  # fmt: skip
        ended = await trio.run_process(
            command, capture_stdout=True, stderr=subprocess.STDOUT, check=False, cwd=tmp_path
        )
        assert ended.returncode == 0, ended.stdout.decode(errors="replace")[-6000:]
        answers = json.loads(report.read_text())["log"]["entries"]
        assert len(answers) > 300, "hardly anything was asked"
        assert ADMIN["X-Admin-Key"] in str(answers[0]["request"]), "the report is as it was"
        nowhere = [*key.values(), ADMIN["X-Admin-Key"], MASTER]
        for answer in answers:
            said = str(answer["response"])
            assert not any(secret in said for secret in nowhere), answer["request"]["url"]
            own = re.match(rf"{api.url}/engines/", answer["request"]["url"]) is not None
            assert own or made.json()["api_key"] not in said, answer["request"]["url"]
