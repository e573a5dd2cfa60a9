"""What must be true of a brain after the process that wrote it was killed."""

import os
from pathlib import Path

import trio

from .brain import intact, logged, rows, statuses, unpaired
from .client import Client, Event, ids, named, phases
from .stage import check_log
from .waiting import until


async def take_up(client: Client, brain: Path, seen: list[Event]) -> list[Event]:
    """Resume after the last event seen: with `seen`, each event exactly once, up to an ending."""
    last = seen[-1].id if seen else 0
    rest = await client.replayed(last, task_id="task")
    events = seen + rest
    assert events == logged(brain), "what was seen and what was replayed are not the log"
    check_log(events)
    return events


def check_ended(brain: Path, events: list[Event]) -> str:
    """The turn is closed once, with a reason; the transcript is valid. The phase it ended in."""
    closing = [event for event in events if event.closes]
    assert len(closing) == 1, closing
    assert events[-1].closes
    ended = phases(events)[-1]
    assert ended in ("completed", "errored")
    assert statuses(brain) == [ended]
    assert [e["error"] for e in named(events, "error")] == ["INTERRUPTED"] * (ended == "errored")
    assert rows(brain, "SELECT * FROM tool_calls") == []
    assert unpaired(brain) == []
    assert intact(brain)
    return ended


async def check_next_turn(client: Client, after: list[Event]) -> None:
    """The task goes on: the next turn runs to its end, under higher ids."""
    events = await client.turn("Are you there?")
    assert phases(events) == ["started", "completed"], events
    assert ids(events)[0] > ids(after)[-1]


async def wait_gone(folder: Path, within: float = 5.0) -> None:
    """Wait until no process runs that has to do with `folder`."""
    try:
        await until(lambda: not processes(folder), within)
    except trio.TooSlowError:
        raise AssertionError(f"still running: {processes(folder)}") from None


def made(folder: Path) -> Path:
    """Make a folder for a brain."""
    folder.mkdir()
    return folder


def processes(folder: Path) -> list[str]:
    """Processes whose command line or working directory names `folder`; not this one."""
    others = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
    found = {entry.name: _words(entry) for entry in others if int(entry.name) != os.getpid()}
    return [f"{pid}: {words[:200]}" for pid, words in found.items() if str(folder) in words]


def _words(process: Path) -> str:
    """Its command line and working directory; nothing for a zombie, or one that is gone."""
    try:
        command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
        return f"{command.decode(errors='replace')} {(process / 'cwd').readlink()}"
    except OSError:
        return ""
