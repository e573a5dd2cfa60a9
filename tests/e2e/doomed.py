"""An Engine that dies by SIGKILL at one step of writing one event: `doomed.py STEP EVENT`.

STEP is `unwritten` (the event has its id but is in no transaction yet) or `written` (it is
committed, and nobody has been sent it). EVENT counts from 1, over the whole life of the process,
or is the type of the event, the first of which it dies at.
What is wrapped calls the Engine's own code: nothing is replaced.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any, cast

from september.__main__ import main
from september.brain.channels.log import EventLog

STEPS = {"unwritten": "_frames", "written": "_publish"}


def doom(step: str, event: str) -> None:
    """Have the process killed when the event log reaches `step` for the given event."""
    inner = cast("Callable[..., Any]", getattr(EventLog, STEPS[step]))
    told = 0

    def outer(log: EventLog, *arguments: Any) -> Any:
        nonlocal told
        appended = arguments[0].events if step == "unwritten" else arguments[1]
        told += len(appended)
        named = any(event == _type(step, one) for one in appended)
        if named or (event.isdigit() and told >= int(event)):
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(log, *arguments)

    setattr(EventLog, STEPS[step], outer)


def _type(step: str, told: Any) -> str:
    """The type of an event, or of a frame that holds one."""
    if step == "unwritten":
        return str(told.type)
    return str(told.wire.partition(b"event: ")[2].partition(b"\n")[0].decode())


if __name__ == "__main__":
    doom(sys.argv[1], sys.argv[2])
    sys.argv[1:] = ["engine"]
    main()
