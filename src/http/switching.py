"""Threads beside a loop that never rests: the brain's, and those that render traces."""

import sys
from typing import Final

SWITCH_S: Final = 50e-6
"""How long a thread waits for Python's lock before it demands it.

A busy loop looks at its sockets every 0.1 ms. It gives the lock away for that and has it back
before the thread is awake, and the wait begins anew. By CPython's default of 5 ms a thread hardly
ever came to demand anything: one write to the brain took seconds (docs/decisions/0025).
"""


def let_threads_in() -> None:
    """Have this process's threads get their turn."""
    sys.setswitchinterval(SWITCH_S)
