"""One Engine per brain: an exclusive lock that the kernel releases even at kill -9."""

import fcntl
import os
import time
from pathlib import Path
from typing import Final, Self

from ...errors import ConfigError, SeptemberError

_PATIENCE_S: Final = 2.0
"""How long a lock is waited for whose holder is dead. Nothing else runs in the Engine by then."""

_PAUSE_S: Final = 0.01


class BrainLock:
    """Held from construction to `release`, or to the death of the process.

    The lock is on the file `<brain>.lock`, which holds the pid of the holder. The file stays: to
    remove it while somebody waits for it would let two processes hold "the" lock.
    """

    def __init__(self, brain: Path) -> None:
        """Take the lock; raise SeptemberError BRAIN_LOCKED if somebody else has it.

        Blocks for at most two seconds, and only if who had it is dead.
        """
        self.path = brain.with_name(brain.name + ".lock")
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _cannot_lock(self.path, error) from error
        try:
            self._take()
        except BlockingIOError as error:
            holder = self._holder()
            os.close(self._fd)
            raise _held(brain, self.path, holder) from error
        except OSError as error:
            os.close(self._fd)
            raise _cannot_lock(self.path, error) from error
        self._sign()

    def release(self) -> None:
        """Let the next one have it."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _take(self) -> None:
        """Lock the file. A holder that is dead is waited for: a child that it was just forking,
        and that has not yet executed its program, holds the lock some milliseconds longer."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline or not self._holder_is_dead():
                    raise
            else:
                return
            time.sleep(_PAUSE_S)  # noqa: TID251  the store takes the lock in a thread

    def _holder_is_dead(self) -> bool:
        holder = self._holder()
        try:
            if holder is not None:
                os.kill(holder, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False

    def _holder(self) -> int | None:
        text = os.pread(self._fd, 32, 0).strip()
        return int(text) if text.isdigit() else None

    def _sign(self) -> None:
        """Write our pid; on a full disk the lock holds without a name."""
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, b"%d\n" % os.getpid(), 0)
        except OSError:
            return


def _held(brain: Path, lock: Path, holder: int | None) -> SeptemberError:
    who = "another process" if holder is None else f"process {holder}"
    return SeptemberError(
        "BRAIN_LOCKED",
        f"{brain} is in use by {who} (lock file {lock}). Stop it first, or give this Engine a "
        "brain of its own with SQLITE_DB_PATH",
        {"path": str(brain), "lock": str(lock), "pid": holder},
    )


def _cannot_lock(lock: Path, error: OSError) -> ConfigError:
    return ConfigError(
        "SQLITE_DB_PATH",
        f"cannot lock {lock}: {error.strerror}. The brain needs a local file system on which "
        "this user may write",
    )
