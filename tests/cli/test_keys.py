"""`september keys`."""

import hashlib

import pytest

from .conftest import Run


def test_a_new_key_comes_with_its_hash(run: Run) -> None:
    lines = run("keys", "new").stdout.splitlines()
    values = dict(line.split("=", 1) for line in lines)
    digest = hashlib.sha256(values["ENGINE_API_KEY"].encode()).hexdigest()
    assert values["ENGINE_KEY_HASH"] == digest
    assert len(values["ENGINE_API_KEY"]) >= 43, "at least 256 bits in base64"


def test_two_new_keys_differ(run: Run) -> None:
    assert run("keys", "new").stdout != run("keys", "new").stdout


@pytest.mark.parametrize(("arguments", "stdin"), [(["abc"], ""), ([], "abc\n")])
def test_a_key_is_hashed_from_the_argument_or_standard_input(
    run: Run, arguments: list[str], stdin: str
) -> None:
    done = run("keys", "hash", *arguments, stdin=stdin)
    assert done.stdout.strip() == hashlib.sha256(b"abc").hexdigest()


def test_an_empty_key_is_a_usage_error(run: Run) -> None:
    done = run("keys", "hash", stdin="\n")
    assert done.returncode == 2
    assert "the key is empty" in done.stderr
