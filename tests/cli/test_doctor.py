"""`september doctor`."""

import socket

import pytest

from .conftest import Run

GOOD = {"LLM_PROVIDER": "scripted", "ENGINE_API_KEY": "k", "SQLITE_DB_PATH": "brain.sqlite"}


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def test_a_machine_that_can_run_an_engine_passes(run: Run) -> None:
    done = run("doctor", ENGINE_PORT=free_port(), **GOOD)
    assert done.returncode == 0, done.stdout
    assert "missing" not in done.stdout
    for check in ("Python", "SQLite", "sqlite-vec", "embedder", "sandbox", "brain", "port"):
        assert check in done.stdout


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"LLM_PROVIDER": "openai"}, "set LLM_API_KEY or OPENAI_API_KEY"),
        ({"ENGINE_API_KEY": ""}, "ENGINE_API_KEY to the key itself"),
        ({"SQLITE_DB_PATH": "/dev/null/brain.sqlite"}, "choose another SQLITE_DB_PATH"),
        ({"SANDBOX_MODE": "jail"}, "must be one of bubblewrap, none"),
    ],
)
def test_what_is_missing_comes_with_what_to_do(
    run: Run, settings: dict[str, str], remedy: str
) -> None:
    done = run("doctor", ENGINE_PORT=free_port(), **{**GOOD, **settings})
    assert done.returncode == 1
    assert "✗ missing" in done.stdout
    assert remedy in " ".join(done.stdout.split())


def test_a_port_in_use_is_found(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("doctor", ENGINE_PORT=str(taken.getsockname()[1]), **GOOD)
    assert done.returncode == 1
    assert "choose another ENGINE_PORT" in done.stdout


def test_the_doctor_changes_nothing(run: Run, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("untouched")
    run("doctor", **{**GOOD, "SQLITE_DB_PATH": str(folder / "deep" / "brain.sqlite")})
    assert not list(folder.iterdir())
