"""`september chat` as a process, against a real Engine."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from .conftest import Run
from .engines import SEPTEMBER, RunningEngine, clean_environment, running_engine


@pytest.fixture
def access(engine: RunningEngine) -> dict[str, str]:
    return {"ENGINE_URL": engine.url, "ENGINE_API_KEY": engine.key}


def test_one_turn_is_printed_and_exits_0(run: Run, access: dict[str, str]) -> None:
    done = run("chat", "--once", "count to 12", **access)
    assert done.returncode == 0, done.stderr
    assert "one two three four five six seven eight nine ten, and so on to 12" in done.stdout
    assert "— completed · 1 model call · " in done.stdout
    assert "\x1b" not in done.stdout


def test_a_turn_that_errors_exits_1(run: Run, access: dict[str, str]) -> None:
    done = run("chat", "--once", "fail", **access)
    assert done.returncode == 1
    assert "✗ LLM_PROVIDER_ERROR" in done.stdout


def test_json_prints_every_event_as_a_line(run: Run, access: dict[str, str]) -> None:
    done = run("chat", "--once", "count to 12", "--json", **access)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "thread_lifecycle"
    assert events[-1]["data"]["phase"] == "completed"
    ids = [event["id"] for event in events]
    assert ids == sorted(set(ids))


def test_a_conversation_goes_on_until_the_input_ends(run: Run, access: dict[str, str]) -> None:
    done = run("chat", stdin="count to 3\n\ncount to 4\n", **access)
    assert done.returncode == 0, done.stderr
    assert "to 3" in done.stdout
    assert "to 4" in done.stdout
    assert done.stdout.count("— completed") == 2


def test_a_question_is_asked_and_its_answer_sent(run: Run, access: dict[str, str]) -> None:
    done = run("chat", "--once", "ask me", stdin="2\n", **access)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "? Tea or coffee?" in done.stdout
    assert "You want coffee." in done.stdout


def test_a_question_that_nobody_answered_is_asked_again(run: Run, access: dict[str, str]) -> None:
    left = run("chat", "--task", "later", "--once", "ask me", **access)
    assert left.returncode == 1
    assert "september chat --task later" in left.stderr
    done = run("chat", "--task", "later", stdin="tea\n", **access)
    assert "? Tea or coffee?" in done.stdout
    assert "You want tea." in done.stdout


def test_no_key_is_a_usage_error(run: Run) -> None:
    done = run("chat", "--once", "hello")
    assert done.returncode == 2
    assert "ENGINE_API_KEY" in done.stderr


def test_a_wrong_key_is_said_in_one_line(run: Run, access: dict[str, str]) -> None:
    done = run("chat", "--once", "hello", **{**access, "ENGINE_API_KEY": "wrong"})
    assert done.returncode == 1
    assert done.stderr.startswith("september: INVALID_KEY: ")
    assert len(done.stderr.splitlines()) == 1


def test_no_engine_is_said_with_what_to_do(run: Run) -> None:
    done = run("chat", "--once", "hi", ENGINE_URL="http://127.0.0.1:1", ENGINE_API_KEY="k")
    assert done.returncode == 1
    assert "september engine" in done.stderr


def chatting(access: dict[str, str], folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SEPTEMBER, "chat", "--json", "--once", "slowly"],
        cwd=folder,
        env=clean_environment(**access),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(chat: subprocess.Popen[str], event: str) -> None:
    assert chat.stdout is not None
    for line in chat.stdout:
        if json.loads(line)["event"] == event:
            return
    pytest.fail(f"no {event} came")


def test_ctrl_c_cancels_the_turn(access: dict[str, str], tmp_path: Path) -> None:
    with chatting(access, tmp_path) as chat:
        wait_for(chat, "text_delta")
        chat.send_signal(signal.SIGINT)
        out, err = chat.communicate(timeout=10)
    assert json.loads(out.splitlines()[-1])["data"]["phase"] == "cancelled"
    assert "cancelling the turn" in err
    assert chat.returncode == 1


def test_a_second_ctrl_c_leaves_although_the_engine_hangs(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine:
        access = {"ENGINE_URL": engine.url, "ENGINE_API_KEY": engine.key}
        with chatting(access, tmp_path) as chat:
            wait_for(chat, "text_delta")
            engine.process.send_signal(signal.SIGSTOP)
            assert chat.stderr is not None
            chat.send_signal(signal.SIGINT)
            assert "Ctrl-C again" in chat.stderr.readline()
            chat.send_signal(signal.SIGINT)
            assert chat.wait(10) == 1
        engine.process.send_signal(signal.SIGCONT)


def test_an_engine_killed_and_restarted_ends_the_turn_for_its_client(tmp_path: Path) -> None:
    with running_engine(tmp_path) as engine:
        access = {"ENGINE_URL": engine.url, "ENGINE_API_KEY": engine.key}
        chat = chatting(access, tmp_path)
        wait_for(chat, "text_delta")
        engine.process.kill()
        engine.process.wait()
    with chat, running_engine(tmp_path, engine.port):
        out, err = chat.communicate(timeout=30)
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["event"] for event in events[-2:]] == ["thread_lifecycle", "error"]
    assert events[-1]["data"]["error"] == "INTERRUPTED"
    assert [event["id"] for event in events] == sorted({event["id"] for event in events})
    assert "reconnecting" in err
    assert chat.returncode == 1
