"""What an error of SQLite means: whose it is, what becomes of the store, what the user is told."""

import errno
import shutil
from enum import Enum
from pathlib import Path
from typing import Final

import apsw

from ...errors import SeptemberError


class Verdict(Enum):
    """Who has to live with an error."""

    CALLER = "the caller's own: nobody else is touched"
    FULL = "there is no room: this transaction failed, the store goes on"
    BUSY = "another program holds the brain: this transaction failed, the store goes on"
    UNUSABLE = "the connections cannot be trusted any more: the store is reopened"


_UNUSABLE: Final = (
    apsw.IOError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
)
_CALLERS_OWN: Final = frozenset({apsw.SQLITE_CORRUPT_VTAB, apsw.SQLITE_READONLY})
_DAMAGED: Final = (apsw.CorruptError, apsw.NotADBError)
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_CANNOT_GROW: Final = frozenset({apsw.SQLITE_IOERR_SHMSIZE})  # which the index of the log needs to


def judge(error: BaseException, system_errno: int = 0) -> Verdict:
    """Tell what `error` means for the store; `system_errno` is the connection's, for I/O errors.

    A full-text index at odds with its table (SQLITE_CORRUPT_VTAB) is the caller's: reopening
    cannot mend it, rebuilding the index can. So is a write on a reader (plain SQLITE_READONLY).
    """
    if isinstance(error, SeptemberError):
        return Verdict.UNUSABLE if error.code == "BRAIN_UNUSABLE" else Verdict.CALLER
    if isinstance(error, apsw.FullError):
        return Verdict.FULL
    if isinstance(error, apsw.BusyError):
        return Verdict.BUSY
    if isinstance(error, apsw.IOError) and system_errno in _NO_ROOM:
        return Verdict.FULL
    extended = getattr(error, "extendedresult", None)
    if extended in _CANNOT_GROW:
        return Verdict.FULL
    if extended in _CALLERS_OWN:
        return Verdict.CALLER
    return Verdict.UNUSABLE if isinstance(error, _UNUSABLE) else Verdict.CALLER


def explain(error: Exception, verdict: Verdict, path: Path) -> Exception:
    """Return what the caller is told: `error` itself where it is the caller's own."""
    match verdict:
        case Verdict.CALLER:
            return error
        case Verdict.FULL:
            return full(path, error)
        case Verdict.BUSY:
            return busy(path, error)
        case Verdict.UNUSABLE:
            return error if isinstance(error, SeptemberError) else unusable(path, error)


def full(path: Path, error: Exception) -> SeptemberError:
    """There is no room for a transaction."""
    free = shutil.disk_usage(path.parent).free
    return _caused(
        error,
        "BRAIN_FULL",
        f"{path} cannot grow ({error}); {free} bytes are free on its file system. Nothing was "
        "written. Make room there and try again",
        {"path": str(path), "free_bytes": free},
    )


def busy(path: Path, error: Exception) -> SeptemberError:
    """Somebody else holds the write lock."""
    return _caused(
        error,
        "BRAIN_BUSY",
        f"{path} is locked by another program ({error}). Nothing was written. Close whatever "
        "else has the file open (a sqlite3 shell, a backup) and try again",
        {"path": str(path)},
    )


def unusable(path: Path, error: Exception) -> SeptemberError:
    """The brain cannot be read or written as it is."""
    if isinstance(error, _DAMAGED):
        remedy = (
            "The file is damaged or no SQLite database; it was left as it is. Stop the Engine, "
            "keep a copy, and restore a backup or the result of: sqlite3 FILE .recover"
        )
    else:
        remedy = "Check the disk, the mount and the permissions of its folder, then restart"
    return _caused(
        error,
        "BRAIN_UNUSABLE",
        f"{path} cannot be used: {error}. {remedy}",
        {"path": str(path), "error": type(error).__name__},
    )


def _caused(
    error: Exception, code: str, message: str, details: dict[str, object]
) -> SeptemberError:
    refusal = SeptemberError(code, message, details)
    refusal.__cause__ = error
    return refusal
