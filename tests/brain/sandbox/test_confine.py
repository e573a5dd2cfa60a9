"""The last step inside the sandbox: both programs that can take it do the same."""

import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from msgspec.structs import replace

from september.brain.sandbox import bubblewrap, landlock
from september.brain.sandbox.bubblewrap import Bubblewrap, View
from september.brain.sandbox.confining import Confiner, confiners
from september.brain.sandbox.guardhouse import Guardhouse
from september.brain.sandbox.launch import SYSTEM_PATH, Launch
from september.brain.sandbox.limits import Limits
from september.brain.sandbox.probe import probe
from september.brain.sandbox.process import Ended, Job, run

PROGRAMS = confiners()
needs_landlock = pytest.mark.skipif(
    landlock.version() == 0, reason="this kernel has no Landlock, so nothing shows that it holds"
)


@pytest.fixture
async def house() -> AsyncGenerator[Guardhouse]:
    opened = Guardhouse()
    yield opened
    await opened.close()


@pytest.fixture
async def best(house: Guardhouse) -> Bubblewrap:
    found = await probe(house, bubblewrap.candidates())
    assert isinstance(found, Bubblewrap), found
    return found


async def ran(house: Guardhouse, launch: Launch) -> tuple[str, Ended]:
    output: list[bytes] = []

    async def keep(chunk: bytes) -> None:
        output.append(chunk)

    ended = await run(house, Job(launch, b"", 30, keep))
    return b"".join(output).decode(), ended


async def said(
    house: Guardhouse, wrap: Bubblewrap, command: str, folder: Path
) -> tuple[str, Ended]:
    shell = ("bash", "-c", command)
    view = View((folder,))
    return await ran(house, wrap.launch(shell, folder, view, {"PATH": SYSTEM_PATH}, Limits()))


def test_perl_goes_first_where_there_is_one_and_python_is_always_there() -> None:
    assert "python" in PROGRAMS[-1].argv[0]
    if Path("/usr/bin/perl").exists() and os.uname().machine == "x86_64":
        assert "perl" in PROGRAMS[0].argv[0]


@pytest.mark.parametrize("confiner", PROGRAMS, ids=lambda one: Path(one.argv[0]).name)
async def test_what_it_sets_is_in_force(
    house: Guardhouse, best: Bubblewrap, workspace: Path, confiner: Confiner
) -> None:
    wrap = replace(best, confiner=confiner)
    text, ended = await said(house, wrap, "ulimit -u; ulimit -c; pwd", workspace)
    assert (text, ended.exit_code) == (f"256\n0\n{workspace}\n", 0)


@needs_landlock
@pytest.mark.parametrize("confiner", PROGRAMS, ids=lambda one: Path(one.argv[0]).name)
async def test_landlock_holds_by_itself_where_a_mount_would_let_it_through(
    house: Guardhouse, best: Bubblewrap, workspace: Path, tmp_path: Path, confiner: Confiner
) -> None:
    """The rules know the workspace alone; the mounts, for once, let everything through."""
    (tmp_path / "secret").write_text("secret")
    terms = confiner.confined(best.landlock, ("/usr", "/bin", "/lib", "/lib64"), (workspace,), 256)
    attempts = "cat /mnt/secret; echo x > /mnt/new; echo x > mine && cat mine"
    text, _ = await unwalled(house, best, (*terms, "bash", "-c", attempts), workspace, tmp_path)
    assert "secret\n" not in text
    assert text.count("Permission denied") == 2
    assert text.endswith("x\n")
    assert not (tmp_path / "new").exists()
    text, _ = await unwalled(house, best, ("bash", "-c", attempts), workspace, tmp_path)
    assert (tmp_path / "new").exists(), "without Landlock it is possible, so the test can fail"


async def unwalled(
    house: Guardhouse, wrap: Bubblewrap, argv: tuple[str, ...], folder: Path, mounted: Path
) -> tuple[str, Ended]:
    """Run it in bubblewrap with the whole machine writable, and a folder of it at /mnt too."""
    launch = wrap.launch((), folder, View(), {"PATH": SYSTEM_PATH}, Limits())
    mounts = ("--dev-bind", "/", "/", "--bind", str(mounted), "/mnt")
    bare = (launch.argv[0], *mounts, "--chdir", str(folder), "--", *argv)
    return await ran(house, replace(launch, argv=bare, seccomp=None))


async def test_without_a_proc_of_its_own_the_engines_environment_stays_out_of_sight(
    house: Guardhouse, best: Bubblewrap, workspace: Path
) -> None:
    """So it is in a container with masked paths: the Engine's /proc is shown."""
    engine = f"/proc/{os.getpid()}"
    attempt = f"ls -d {engine}; cat {engine}/environ; readlink {engine}/exe {engine}/fd/1"
    for version in {best.landlock, 0}:
        wrap = replace(best, own_proc=False, landlock=version)
        text, ended = await said(house, wrap, attempt, workspace)
        assert text == f"{engine}\ncat: {engine}/environ: Permission denied\n"
        assert ended.exit_code == 1


async def test_a_command_that_is_not_there_is_named(
    house: Guardhouse, best: Bubblewrap, workspace: Path
) -> None:
    for confiner in PROGRAMS:
        wrap = replace(best, confiner=confiner)
        launch = wrap.launch(
            ("no-such",), workspace, View((workspace,)), {"PATH": SYSTEM_PATH}, Limits()
        )
        output: list[bytes] = []

        async def keep(chunk: bytes, output: list[bytes] = output) -> None:
            output.append(chunk)

        ended = await run(house, Job(launch, b"", 30, keep))
        assert (b"".join(output), ended.exit_code) == (b"no-such: command not found\n", 127)
