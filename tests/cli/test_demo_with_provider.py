"""`september demo` where the environment names a provider: the same command, a real protocol."""

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers import KEY, Call, Say, dumps, script

from .conftest import Run

SERVE = Path(__file__).resolve().parents[1] / "peers" / "serve.py"


@contextmanager
def peer(provider: str, folder: Path) -> Generator[str]:
    """The address of a server that speaks the provider's protocol."""
    answers = script([Say("On it."), Call("bash", {"command": "echo $((6 * 7))"})], Say("Done."))
    file = folder / "script.json"
    file.write_bytes(dumps(answers))
    with subprocess.Popen(
        [sys.executable, str(SERVE), provider, str(file)], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


@pytest.mark.parametrize("provider", ["anthropic", "openai", "gemini"])
def test_a_provider_with_a_key_answers_in_the_demonstration(
    provider: str, run: Run, tmp_path: Path
) -> None:
    with peer(provider, tmp_path) as url:
        settings = {f"{provider.upper()}_BASE_URL": url, "EMBEDDING_PROVIDER": "local"}
        done = run(
            "demo",
            "--once",
            "--engine-only",
            LLM_PROVIDER=provider,
            LLM_MODEL="m-1",
            LLM_API_KEY=KEY,
            **settings,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith(f"{provider} answers, with the model m-1.")
    assert "✓ bash" in done.stdout
    assert "  42\n" in done.stdout
    assert "NOT a language model" not in done.stdout


def test_an_engine_of_the_fleet_gets_the_provider_too(
    run: Run, tmp_path: Path, open_folder: Path
) -> None:
    with peer("anthropic", tmp_path) as url:
        settings = {"LLM_PROVIDER": "anthropic", "LLM_MODEL": "m-1", "ANTHROPIC_BASE_URL": url}
        done = run("demo", "--once", "--data", str(open_folder), LLM_API_KEY=KEY, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ bash" in done.stdout and "  42\n" in done.stdout


def test_a_wrong_key_fails_the_demonstration_and_is_not_shown(run: Run, tmp_path: Path) -> None:
    with peer("anthropic", tmp_path) as url:
        done = run(
            "demo",
            "--once",
            "--engine-only",
            LLM_PROVIDER="anthropic",
            LLM_MODEL="m-1",
            LLM_API_KEY="sk-wrong-0123456789",
            ANTHROPIC_BASE_URL=url,
        )
    assert done.returncode == 1
    assert "✗ LLM_PROVIDER_ERROR" in done.stdout
    assert "sk-wrong" not in done.stdout + done.stderr
