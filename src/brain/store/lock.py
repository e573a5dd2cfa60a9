"""One Engine per brain: an exclusive lock that the kernel releases even at kill -9."""

import fcntl
import os
from pathlib import Path
from typing import Self

from ...errors import ConfigError, SeptemberError


class BrainLock:
    """Held from construction to `release`, or to the death of the process.

    The lock is on the file `<brain>.lock`, which holds the pid of the holder. The file stays: to
    remove it while somebody waits for it would let two processes hold "the" lock.
    """

    def __init__(self, brain: Path) -> None:
        """Take the lock; raise SeptemberError BRAIN_LOCKED if somebody else has it."""
        self.path = brain.with_name(brain.name + ".lock")
        try:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise _cannot_lock(self.path, error) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
