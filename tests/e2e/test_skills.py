"""Skills and the catalog over HTTP: made, used by agents, exported, reloaded, refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.peers import Call, Say, Wait, script

from .client import Client, Refused, named, text_of
from .stage import staged

STOCK = Path(__file__).resolve().parents[2] / "catalog"

COUNTER = {
    "name": "word-counter",
    "description": "Counts words.",
    "prompt": "Count with the script, then report in {{language|English}}.",
    "capabilities": ["texts"],
    "scripts": {
        "count.py": "import json, sys\nprint(len(json.load(sys.stdin)['text'].split()))\n",
        "where.sh": "pwd; ls -A\n",
        "wipe.sh": "rm -rf /etc/nothing-of-ours\n",
    },
}


async def refused(work: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await work
    return caught.value


async def change(client: Client, method: str, path: str, body: object = None) -> httpx2.Response:
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    return await client.http.request(method, path, content=content, headers=headers)


async def test_a_skill_is_made_shown_changed_and_deleted(tmp_path: Path) -> None:
    async with staged("anthropic", script(), tmp_path) as stage:
        client = stage.client
        made = await client.post("/skills/create", COUNTER)
        assert made == await client.get("/skills/word-counter")
        assert made["prompt_template"] == COUNTER["prompt"]
        assert made["scripts"] == COUNTER["scripts"]
        listed = {one["name"]: one for one in await client.get("/skills")}
        assert listed["word-counter"] == {
            "name": "word-counter",
            "description": "Counts words.",
            "source": "custom",
            "category": "general",
            "confidence": 0.8,
        }
        assert listed["summarizer"]["source"] == "platform"
        changed = await change(client, "PUT", "/skills/word-counter", {"category": "text"})
        assert changed.json() == {**made, "category": "text"}
        gone = await change(client, "DELETE", "/skills/word-counter")
        assert gone.json() == {"name": "word-counter", "status": "deleted"}
        assert (await change(client, "DELETE", "/skills/word-counter")).status_code == 404


async def test_what_must_not_be_is_refused_by_field(tmp_path: Path) -> None:
    async with staged("anthropic", script(), tmp_path) as stage:
        client = stage.client
        await client.post("/skills/create", COUNTER)
        again = await refused(client.post("/skills/create", COUNTER))
        assert (again.status, again.error) == (409, "SKILL_EXISTS")
        taken = await refused(client.post("/skills/create", {**COUNTER, "name": "summarizer"}))
        assert (taken.status, taken.error) == (409, "SKILL_EXISTS")
        for body, status, field in (
            ({"name": "Upper Case", "prompt": "x"}, 422, "name"),
            ({"name": "empty"}, 400, "prompt"),
            ({"name": "up", "scripts": {"../up.py": "1"}}, 400, "scripts.../up.py"),
            ({"name": "exe", "scripts": {"a.exe": "MZ"}}, 400, "scripts.a.exe"),
            ({"name": "x", "prompts": "x"}, 400, "prompts"),
            ({"prompt": "x"}, 400, "name"),
        ):
            answer = await refused(client.post("/skills/create", body))
            assert (answer.status, answer.body["details"]["field"]) == (status, field), body
        for method in ("PUT", "DELETE"):
            changes = {"description": "mine"} if method == "PUT" else None
            own = await change(client, method, "/skills/summarizer", changes)
            assert (own.status_code, own.json()["error"]) == (403, "PERMISSION_DENIED")
            none = await change(client, method, "/skills/nobody", changes)
            assert (none.status_code, none.json()["error"]) == (404, "NOT_FOUND")
        refusals: tuple[tuple[dict[str, object], str], ...] = (
            ({"name": "other"}, "name"),
            ({"prompt": "", "scripts": {}}, "prompt"),
        )
        for wrong, field in refusals:
            answered = await change(client, "PUT", "/skills/word-counter", wrong)
            assert (answered.status_code, answered.json()["details"]["field"]) == (400, field)
        assert (await client.get("/skills/word-counter"))["prompt_template"] == COUNTER["prompt"]


async def test_an_agent_loads_a_skill_and_runs_its_script(tmp_path: Path) -> None:
    command = """echo '{"text": "one two three"}' | python3 .skills/word-counter/count.py"""
    replies = script(
        [Call("skill", {"name": "word-counter"})],
        [Call("bash", {"command": command})],
        [Say("Three words.")],
    )
    async with staged("anthropic", replies, tmp_path) as stage:
        await stage.client.post("/skills/create", COUNTER)
        events = await stage.client.turn("How many words?")
        loaded, ran = named(events, "tool_result")
        assert "Count with the script" in loaded["output"]
        assert "python3 .skills/word-counter/count.py" in loaded["output"]
        assert "- language: English" in loaded["output"]
        assert (ran["error"], ran["output"]) == (None, "3\n")
        assert text_of(events) == "Three words."
        (offered,) = [
            tool for tool in stage.peer.requests[0].body["tools"] if tool["name"] == "skill"
        ]
        assert "- word-counter: Counts words." in offered["description"]
        assert "- code-reviewer: " in offered["description"]


async def called(client: Client, method: str, task_id: str = "rpc", **params: Any) -> Any:
    body = {"method": method, "params": params, "task_id": task_id}
    return (await client.post("/rpc", body))["result"]


async def test_skills_run_by_name_as_a_prompt_and_as_a_script(tmp_path: Path) -> None:
    replies = script([Say("Short.")], [Say("Kurz.")])
    async with staged("anthropic", replies, tmp_path) as stage:
        client = stage.client
        answer = await called(client, "skill.summarizer", text="A long story.", language="German")
        assert answer == {"output": "Short.", "error": None, "truncated": False}
        sent = json.dumps(stage.peer.requests[0].body)
        assert "Language: German." in sent and "A long story." in sent and "{{" not in sent
        await client.post("/skills/create", COUNTER)
        count = await called(client, "skill.word-counter", script="count.py", text="a b c d")
        assert count == {"output": "4\n", "error": None, "truncated": False}
        where = await called(client, "skill.word-counter", "a-task", script="where.sh")
        assert ".skills" in where["output"]
        assert (stage.engine.engine.config.workspace_root / "a-task/.skills").is_dir()
        broken = await called(client, "skill.word-counter", script="count.py")
        assert broken["error"] == "nonzero_exit" and "KeyError" in broken["output"]
        wiped = await refused(called(client, "skill.word-counter", script="wipe.sh"))
        assert (wiped.status, wiped.error) == (403, "PERMISSION_DENIED")
        unknown = await refused(called(client, "skill.word-counter", script="none.py"))
        assert unknown.body["details"]["field"] == "params.script"
        (listed,) = [o for o in await client.get("/skills") if o["name"] == "word-counter"]
        assert listed["confidence"] == 0.75, "two of three runs went well, on a trust of 0.8"


async def test_tools_run_by_name_under_the_same_rules(tmp_path: Path) -> None:
    async with staged("anthropic", script(), tmp_path) as stage:
        client = stage.client
        await called(client, "tool.write_file", path="note.txt", content="one\ntwo\n")
        found = await called(client, "tool.grep", pattern="two", path="note.txt")
        assert "two" in found["output"]
        failed = await called(client, "tool.bash", command="exit 3")
        assert failed["error"] == "nonzero_exit"
        asked = await refused(called(client, "tool.bash", command="rm -rf /usr/local"))
        assert (asked.status, asked.error) == (403, "PERMISSION_DENIED")
        assert asked.body["details"]["tool"] == "bash"
        decided = (await client.get("/permissions/decisions"))["decisions"]
        assert decided[0]["outcome"] == "denied" and decided[0]["tool"] == "bash"
        wrong = await refused(called(client, "tool.grep", pattern=3))
        assert (wrong.status, wrong.error) == (422, "INVALID_REQUEST")
        assert "pattern" in wrong.body["message"]
        unknown = await refused(called(client, "tool.grepp"))
        assert (unknown.status, unknown.error) == (404, "NOT_FOUND")
        assert "tool.grep" in unknown.body["message"]
        nobody = await called(client, "tool.ask_user", question="Tea?")
        assert nobody["error"] == "no_answer"
        nothing = await refused(called(client, "tools.grep"))
        assert nothing.status == 404 and "tool.<name>" in nothing.body["message"]
        bad = await refused(called(client, "skill.nobody"))
        assert (bad.status, bad.error) == (404, "NOT_FOUND")


async def test_custom_skills_travel_with_an_export(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    async with staged("anthropic", script(), tmp_path / "from") as stage:
        made = await stage.client.post("/skills/create", COUNTER)
        document = await stage.client.get("/memory/export")
        assert [one["name"] for one in document["skills"]] == ["word-counter"]
    async with staged("anthropic", script(), tmp_path / "to") as stage:
        client = stage.client
        broken = {**document, "skills": [{**document["skills"][0], "scripts": {"a.exe": "MZ"}}]}
        answer = await refused(client.post("/memory/import", broken))
        assert answer.body["details"]["field"] == "skills[0].scripts.a.exe"
        assert (await client.post("/memory/import", document))["counts"]["skills"] == {
            "added": 1,
            "kept": 0,
        }
        assert await client.get("/skills/word-counter") == made
        again = await client.post("/memory/import", document)
        assert again["counts"]["skills"] == {"added": 0, "kept": 1}


def catalog(folder: Path) -> Path:
    made = folder / "catalog"
    shutil.copytree(STOCK, made)
    return made


def tool(root: Path, name: str, kind: str, ref: object, **more: object) -> None:
    (root / "tools").mkdir(exist_ok=True)
    definition = {
        "name": name,
        "description": f"{name} of the catalog",
        "input_schema": {"type": "object"},
        "implementation": {"kind": kind, "ref": ref},
        **more,
    }
    (root / "tools" / f"{name}.json").write_text(json.dumps(definition))


def give(root: Path, *tools: str) -> None:
    file = root / "agents/assistant/agent.json"
    agent = json.loads(file.read_text())
    file.write_text(json.dumps({**agent, "tools": [*agent["tools"], *tools]}))


async def test_the_catalogs_tools_stand_for_what_is_behind_them(tmp_path: Path) -> None:
    root = catalog(tmp_path)
    tool(root, "shell", "platform", "bash")
    tool(root, "look", "platform", "read_file", requires_permission=True)
    tool(root, "digest", "skill", "summarizer", high_cost=True)
    tool(root, "github.file", "mcp", {"server": "github", "action": "get_file"})
    give(root, "shell", "look", "digest", "github.file")
    replies = script(
        [Call("shell", {"command": "echo hi"})],
        [Call("shell", {"cmd": "echo hi"})],
        [Call("github.file", {})],
        [Call("shell", {"command": "rm -rf /usr/local"})],
        [Call("look", {"path": "x"})],
        [Call("digest", {"text": "A long story."})],
        [Say("A story.")],
        [Say("Done.")],
    )  # fmt: skip
    async with staged("anthropic", replies, tmp_path, CATALOG_DIR=str(root)) as stage:
        asked: list[str] = []
        async with stage.client.execute() as stream:
            async for event in stream:
                if event.name == "hitl_request":
                    asked.append(event.data["question"])
                    await stage.client.answer("yes" if "digest" in asked[-1] else "no")
            results = named(stream.seen, "tool_result")
        assert [one["error"] for one in results] == [
            None, "invalid_input", "mcp_connection_failed",
            "permission_denied", "permission_denied", None,
        ]  # fmt: skip
        assert results[0]["output"] == "hi\n"
        assert "/usr/local" in asked[0]
        assert "every call" in asked[1] and "high-cost" in asked[2]
        assert results[-1]["output"] == "A story."
        direct = await refused(called(stage.client, "tool.look", path="x"))
        assert (direct.status, direct.error) == (403, "PERMISSION_DENIED")


async def test_a_broken_catalog_is_refused_as_a_whole_and_the_old_one_goes_on(
    tmp_path: Path,
) -> None:
    root = catalog(tmp_path)
    async with staged("anthropic", script(), tmp_path, CATALOG_DIR=str(root)) as stage:
        client = stage.client
        agents, skills = await client.get("/agents"), await client.get("/skills")
        prompt = root / "skills/poet/prompt.md"
        prompt.parent.mkdir()
        prompt.write_text("Write verse.")
        definition = prompt.with_name("skill.json")
        definition.write_text('{"name": "poet", "description": "Verse.", "categry": "art"}')
        (root / "agents/writer/system-prompt.md").write_text("Changed.")
        broken = await refused(client.post("/admin/reload-catalog", {}))
        assert broken.status == 422
        assert broken.body["details"]["file"] == str(definition)
        assert broken.body["details"]["field"] == "categry"
        assert (await client.get("/agents"), await client.get("/skills")) == (agents, skills)
        definition.write_text('{"name": "poet", "description": "Verse."}')
        reloaded = await client.post("/admin/reload-catalog", {})
        assert reloaded["catalog"]["skills"] == len(skills) + 1
        assert "poet" in [one["name"] for one in await client.get("/skills")]
        tool(root, "shell", "platform", "bassh")
        broken = await refused(client.post("/admin/reload-catalog", {}))
        assert broken.body["details"]["field"] == "implementation.ref"
        assert "did you mean 'bash'" in broken.body["message"]


async def test_a_running_turn_keeps_the_catalog_that_it_began_with(tmp_path: Path) -> None:
    root = catalog(tmp_path)
    tool(root, "shell", "platform", "bash")
    give(root, "shell")
    replies = script(
        [Wait("reloaded"), Call("shell", {"command": "echo still here"})],
        [Say("Done.")],
        [Call("shell", {"command": "echo gone"})],
        [Say("Done.")],
    )
    async with staged("anthropic", replies, tmp_path, CATALOG_DIR=str(root)) as stage:
        async with stage.client.execute() as stream:
            await stage.peer.wait_request(0)
            shutil.rmtree(root / "tools")
            shutil.copytree(STOCK / "agents", root / "agents", dirs_exist_ok=True)
            await stage.client.post("/admin/reload-catalog", {})
            stage.peer.release("reloaded")
            events = await stream.rest()
        assert [one["output"] for one in named(events, "tool_result")] == ["still here\n"]
        events = await stage.client.turn()
        assert [one["error"] for one in named(events, "tool_result")] == ["unknown_tool"]
