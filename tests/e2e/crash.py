"""What must be true of a brain after the process that wrote it was killed."""

from pathlib import Path

import psutil
import trio

from .brain import intact, logged, rows, statuses, unpaired
from .client import Client, Event, ids, named, phases
from .stage import check_log


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
    with trio.move_on_after(within):
        while processes(folder):
            await trio.sleep(0.01)
        return
    raise AssertionError(f"still running: {processes(folder)}")


def processes(folder: Path) -> list[str]:
    """Processes whose command line or working directory names `folder`; not this one."""
    found: list[str] = []
    for process in psutil.process_iter(["pid", "cmdline", "cwd", "status"]):
        info = process.info
        words = " ".join([*(info["cmdline"] or ()), info["cwd"] or ""])
        alive = info["status"] != psutil.STATUS_ZOMBIE
        if alive and str(folder) in words and info["pid"] != psutil.Process().pid:
            found.append(f"{info['pid']}: {words[:200]}")
    return found
