"""`september config`."""

from pathlib import Path

from september.config import SETTINGS

from .conftest import Run


def row(table: str, name: str) -> list[str]:
    """The words of one line of the table."""
    return next(line for line in table.splitlines() if line.strip().startswith(f"{name} ")).split()


def test_every_setting_has_a_line(run: Run) -> None:
    done = run("config", LLM_PROVIDER="scripted", ENGINE_API_KEY="k")
    assert done.returncode == 0
    for setting in SETTINGS:
        assert row(done.stdout, setting.name)


def test_the_source_of_a_value_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ENGINE_PORT=9001\nTASK_SLOTS=2\n")
    table = run("config", LLM_PROVIDER="scripted", ENGINE_API_KEY="k", TASK_SLOTS="7").stdout
    assert row(table, "ENGINE_PORT")[1:3] == ["9001", ".env"]
    assert row(table, "TASK_SLOTS")[1:3] == ["7", "environment"]
    assert row(table, "TASK_QUEUE")[1:3] == ["64", "default"]
    assert row(table, "WORKSPACE_ROOT")[1:3] == ["/data/workspaces", "derived"]


def test_a_secret_is_never_shown(run: Run) -> None:
    done = run("config", LLM_PROVIDER="scripted", ENGINE_API_KEY="hush-hush", BRAVE_API_KEY="shh")
    assert "hush" not in done.stdout + done.stderr
    assert "shh" not in done.stdout + done.stderr
    assert row(done.stdout, "BRAVE_API_KEY")[1] == "(set)"


def test_settings_that_cannot_work_are_shown_with_what_to_do(run: Run) -> None:
    done = run("config", LLM_PROVIDER="anthropic", ENGINE_API_KEY="k")
    assert done.returncode == 2
    assert row(done.stdout, "LLM_PROVIDER")[1] == "anthropic"
    assert done.stderr.startswith("september: LLM_API_KEY: is missing; set it or")


def test_only_what_was_set_is_shown_on_request(run: Run) -> None:
    table = run("config", "--set", LLM_PROVIDER="scripted", ENGINE_API_KEY="k").stdout
    assert "LLM_PROVIDER" in table
    assert "TASK_SLOTS" not in table
