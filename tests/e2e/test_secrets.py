"""Secrets go in; they do not come out: not on the wire, in a log, a trace or an error."""

import json
import re
from pathlib import Path

from tests.peers import KEY as PEER_KEY
from tests.peers import Call, Say, Status, Think, provider_peer, script

from .brain import logged, rows
from .client import Client, named, phases, text_of
from .harness import KEY, engine_process, peered
from .stage import each_provider

FERNET = "wZ1fT3c0cF0Hq7mYb0yL5s9uE2xK8vR4nA6jD1gP3hQ="
OWN = {
    "BRAVE_API_KEY": "brave-key-planted-by-a-test",
    "TAVILY_API_KEY": "tvly-planted-4711-by-a-test",
    "AD_ENCRYPTION_KEY": FERNET,
}
"""Secrets of the Engine's own, beside its key and its provider's."""

FOUND = {
    "github": "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8",
    "aws": "AKIA" + "Z7QX3M5N9P2R4T6V",
    "anthropic": "sk-ant-api03-" + "Zx9Yw8Vu7Ts6Rq5Po4Nm3Lk2Ji1Hg0Fe9Dc8Ba7" * 2,
}
"""Secrets of other people's, by their shape."""

MARK = 4
"""Characters at its beginning by which a secret is known, and which are shown."""

EVERY = [KEY, PEER_KEY, *OWN.values(), *FOUND.values()]


def leaked(text: str) -> list[str]:
    """The secrets that a text holds."""
    return [secret for secret in EVERY if secret in text]


@each_provider
async def test_no_secret_leaves_by_any_door(provider: str, tmp_path: Path) -> None:
    told = " and ".join(EVERY)
    show = Call("bash", {"command": f"echo '{FOUND['github']}'; echo {KEY}"})
    ask = Call("ask_user", {"question": f"Is {FOUND['aws']} yours?"})
    replies = script(
        [Think(f"The key is {FOUND['aws']}.", size=3), Say(f"I know {told}, too.", size=3), show],
        [Say("Hm."), ask],
        [Say(f"Once more: {FOUND['anthropic']}", size=1)],
        Status(400, message=f"Incorrect API key provided: {PEER_KEY}"),
        repeat=True,
    )
    async with provider_peer(provider, replies) as peer:
        env = peered(tmp_path, peer, ENGINE_LOG_LEVEL="DEBUG", **OWN)
        async with engine_process(env) as engine, Client(engine.url) as client:
            async with client.execute(super_thinking=True) as stream:
                await stream.until("hitl_request")
                pending = json.dumps(await client.get("/hitl/pending"))
                await client.answer(f"No, {FOUND['anthropic']} is", feedback=FOUND["github"])
                events = await stream.rest()
            async with client.replay(0, task_id="task") as replay:
                await replay.rest()
            async with client.execute("again", "other") as failing:
                failure = await failing.rest()
            doors = {
                "stream": stream.raw.decode(),
                "replay": replay.raw.decode(),
                "failing stream": failing.raw.decode(),
                "pending": pending,
                "actors": json.dumps(await client.get("/actors")),
                "health": json.dumps(await client.get("/health")),
                "openapi": json.dumps(await client.get("/openapi.json")),
            }
            engine.terminate()
            assert await engine.stopped() == 0
        doors["log"] = "\n".join(engine.log)
    brain = tmp_path / "brain.sqlite"
    doors["event log"] = str(logged(brain)) + str(logged(brain, "other"))
    doors["observability"] = str(rows(brain, "SELECT * FROM observability_events"))
    assert {door: found for door, text in doors.items() if (found := leaked(text))} == {}
    # All of it was there to be found, and what surrounds it came through.
    assert leaked(str(rows(brain, "SELECT blocks FROM messages"))) == EVERY
    assert phases(events) == ["started", "completed"]
    shown = re.sub(rf"\S{{0,{MARK}}}\[redacted\]", "*", text_of(events))
    assert shown == f"I know {' and '.join('*' for _ in EVERY)}, too.Hm.Once more: *"
    assert "[redacted]" in named(events, "tool_result")[0]["output"]
    assert "[redacted]" in named(events, "tool_call")[0]["input"]["command"]
    assert named(events, "hitl_request")[0]["question"] == "Is AKIA[redacted] yours?"
    assert named(events, "hitl_resolved")[0]["answer"] == "No, sk-[redacted] is"
    assert failure[-1].data["error"] == "LLM_PROVIDER_ERROR"


async def test_a_secret_of_the_engine_s_own_never_reaches_a_command(tmp_path: Path) -> None:
    replies = script([Call("bash", {"command": "env; cat /proc/*/environ"})], [Say("Done.")])
    async with provider_peer("anthropic", replies) as peer:
        env = peered(tmp_path, peer, **OWN)
        async with engine_process(env) as engine, Client(engine.url) as client:
            events = await client.turn()
    assert phases(events) == ["started", "completed"]
    (block,) = json.loads(
        rows(tmp_path / "brain.sqlite", "SELECT blocks FROM messages WHERE seq = 3")[0][0]
    )
    assert "PATH=" in block["content"]
    assert leaked(block["content"]) == []
