"""`september trace` and `september actors` against a running Engine."""

import json
import signal
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import httpx2
import pytest

from september.cli import trace_client
from september.errors import SeptemberError
from september.traces.row import TraceRow

from .conftest import Run
from .engines import SEPTEMBER, RunningEngine, clean_environment

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def env(engine: RunningEngine) -> dict[str, str]:
    return {"ENGINE_URL": engine.url, "ENGINE_API_KEY": engine.key, "COLUMNS": "160"}


def turn(engine: RunningEngine, message: str, task_id: str) -> str:
    """Run a turn; the id of its trace."""
    answer = httpx2.post(
        f"{engine.url}/execute",
        headers={"X-Engine-Key": engine.key},
        json={"task_id": task_id, "message": message},
        timeout=30,
    )
    trace_id: str = answer.headers["traceparent"].split("-")[1]
    return trace_id


def test_a_failed_turn_is_listed_shown_explained_and_replayed(
    engine: RunningEngine, env: dict[str, str], run: Run
) -> None:
    trace_id = turn(engine, "fail", "cli-trace")
    listed = run("trace", "ls", "--task", "cli-trace", **env).stdout
    assert trace_id in listed and "TurnDown" not in listed
    everything = run("trace", "ls", "--task", "cli-trace", "--all", **env).stdout
    assert "TurnDown" in everything
    shown = run("trace", "show", trace_id, **env).stdout
    assert "attempt scripted  rejected" in shown and 'Admission {"ahead":0}' in shown
    why = run("trace", "why", "cli-trace", **env).stdout
    assert "because attempt scripted: rejected" in why
    found = httpx2.get(
        f"{engine.url}/traces",
        params={"task_id": "cli-trace"},
        headers={"X-Engine-Key": engine.key},
    ).json()
    (turn_id,) = {one["turn_id"] for one in found["traces"] if one["turn_id"]}
    replayed = run("trace", "replay", turn_id, **env)
    assert replayed.returncode == 0, replayed.stderr
    assert "all 2 steps are as recorded" in replayed.stdout


def test_a_trace_is_exported_for_other_tools(
    engine: RunningEngine, env: dict[str, str], run: Run
) -> None:
    trace_id = turn(engine, "count to 10", "cli-export")
    spans = json.loads(run("trace", "export", trace_id, **env).stdout)
    names = {one["name"] for one in spans["resourceSpans"][0]["scopeSpans"][0]["spans"]}
    assert {"POST /execute", "invoke_agent assistant", "StartTurn"} <= names
    text = run("trace", "export", trace_id, "--format", "perfetto", **env).stdout
    assert any(one["name"] == "StartTurn" for one in json.loads(text)["traceEvents"])
    drawn = run("trace", "export", trace_id, "--format", "mermaid", **env).stdout
    assert drawn.startswith("sequenceDiagram\n")


def test_actors_are_replayed_with_the_settings_of_here(
    engine: RunningEngine, env: dict[str, str], run: Run
) -> None:
    turn(engine, "count to 10", "cli-slots")
    same = run("trace", "replay", "coordinator", **env)
    assert same.returncode == 0, same.stderr + same.stdout
    assert "messages are answered as recorded" in same.stdout
    span = next(line.split()[2] for line in same.stdout.splitlines() if "StartTurn" in line)
    shown = run("trace", "replay", "coordinator", "--at", span, **env)
    assert shown.returncode == 0, shown.stderr + shown.stdout
    assert "tasks/slots" in shown.stdout and "ok: Accepted" in shown.stdout
    refused = run("trace", "replay", "sandbox", **env)
    assert refused.returncode != 0 and "files, processes or the network" in refused.stderr


def test_the_actors_are_a_tree(env: dict[str, str], run: Run) -> None:
    shown = run("actors", "--once", **env).stdout
    assert "    coordinator" in shown and "running" in shown


@pytest.mark.parametrize(
    ("arguments", "says"),
    [(("why", "nobody"), "nothing is recorded of 'nobody'"), (("show", "00" * 16), "no trace")],
)
def test_what_is_not_there_is_said(
    arguments: tuple[str, ...], says: str, env: dict[str, str], run: Run
) -> None:
    answered = run("trace", *arguments, **env)
    assert answered.returncode != 0 and says in answered.stderr


def test_programs_get_json_and_any_id_finds_its_trace(
    engine: RunningEngine, env: dict[str, str], run: Run
) -> None:
    trace_id = turn(engine, "fail", "cli-json")
    listed = json.loads(run("trace", "ls", "--task", "cli-json", "--json", **env).stdout)
    assert [one["trace_id"] for one in listed["traces"]] == [trace_id]
    for target in ("cli-json", listed["traces"][0]["turn_id"], trace_id):
        shown = run("trace", "show", target, "--json", **env)
        assert json.loads(shown.stdout)["trace_id"] == trace_id
    why = json.loads(run("trace", "why", "cli-json", "--json", **env).stdout)
    assert why["steps"][-1]["path"] == "attempt scripted"
    looked = json.loads(run("actors", "--json", **env).stdout)
    assert looked["actors"][0]["path"] == "engine"


def test_ctrl_c_is_how_one_leaves_tail(engine: RunningEngine, env: dict[str, str]) -> None:
    # A suite that runs in the background of a shell ignores Ctrl-C, and so would its children.
    command = ["env", "--default-signal=INT", *SEPTEMBER, "trace", "tail", "--json"]
    with subprocess.Popen(
        command, env=clean_environment(**env), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as tail:
        assert tail.stdout is not None and tail.stderr is not None
        assert b"following Engine" in tail.stderr.readline()
        follower = threading.Thread(target=keep_turning, args=(engine, tail))
        follower.start()
        row = json.loads(tail.stdout.readline())
        tail.send_signal(signal.SIGINT)
        _, said = tail.communicate(timeout=20)  # reads on: a full pipe would hold it up
        follower.join()
        assert tail.returncode == 0
        assert row["trace_id"] and b"Aborted" not in said


def keep_turning(engine: RunningEngine, tail: "subprocess.Popen[bytes]") -> None:
    """Run turns until the tail has left: it may have come after the first."""
    while tail.poll() is None:
        turn(engine, "count to 3", "cli-tail")


class Cuts(BaseHTTPRequestHandler):
    """A stream that ends after each row, and goes on from the one that a client names."""

    def do_GET(self) -> None:
        last = int(self.headers.get("Last-Event-ID") or 4)
        self.send_response(200 if last < 7 else 401)
        self.end_headers()
        row = f'{{"kind":"span","at":1,"trace_id":"t","span_id":"{last + 1}","path":"p"}}'
        refusal = '{"error": "INVALID_KEY", "message": "this key is no longer good"}'
        body = f"id: {last + 1}\nevent: rows\ndata: {row}\n\n" if last < 7 else refusal
        self.wfile.write(body.encode())

    def log_message(self, format: str, *told: object) -> None:  # noqa: A002  its own name
        """Nothing: the test looks at what comes in."""


def test_a_stream_that_was_lost_is_taken_up_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace_client, "_RETRY_S", (0,))
    lost, rows = list[str](), list[str]()
    with HTTPServer(("127.0.0.1", 0), Cuts) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        client = trace_client.TraceClient(f"http://127.0.0.1:{server.server_port}", "key")
        with pytest.raises(SeptemberError, match="no longer good"):
            for one in client.follow("/traces/stream", TraceRow, lost.append):
                rows.append(one.span_id)
        server.shutdown()
        thread.join()
    assert rows == ["5", "6", "7"]
    assert len(lost) == 3 and "Engine ended the stream; trying again" in lost[0]


def test_without_a_key_the_variable_is_named(run: Run) -> None:
    assert "ENGINE_API_KEY" in run("trace", "ls").stderr
    assert "ORCH_ADMIN_KEY" in run("trace", "ls", "--fleet").stderr
