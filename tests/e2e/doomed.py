"""An Engine that dies by SIGKILL at one step of writing one event: `doomed.py STEP EVENT`.

STEP is `unwritten` (the event has its id but is in no transaction yet) or `written` (it is
committed, and nobody has been sent it). EVENT counts from 1, over the whole life of the process.
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


def doom(step: str, event: int) -> None:
    """Have the process killed when the event log reaches `step` for the given event."""
    inner = cast("Callable[..., Any]", getattr(EventLog, STEPS[step]))
    told = 0

    def outer(log: EventLog, *arguments: Any) -> Any:
        nonlocal told
        appended = arguments[0].events if step == "unwritten" else arguments[1]
        told += len(appended)
        if told >= event:
            os.kill(os.getpid(), signal.SIGKILL)
        return inner(log, *arguments)

    setattr(EventLog, STEPS[step], outer)


if __name__ == "__main__":
    doom(sys.argv[1], int(sys.argv[2]))
    sys.argv[1:] = ["engine"]
    main()
