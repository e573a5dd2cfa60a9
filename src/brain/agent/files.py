"""Files that come with a request, placed below the task's workspace before the turn."""

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Final

import trio

from ...errors import SeptemberError

FIELD: Final = "context.files"


async def place_files(workspace: Path, files: Mapping[str, str], field: str = FIELD) -> None:
    """Write `files` (path to text). Raises INVALID_REQUEST for a path outside the workspace.

    `field` is where the caller was given them.
    """
    if not files:
        return
    await trio.to_thread.run_sync(_place, workspace, files, field)


def check_path(path: str, field: str = FIELD) -> None:
    """Refuse a path that is not plainly below the workspace."""
    pure = PurePosixPath(path)
    if not path or pure.is_absolute() or ".." in pure.parts or "\0" in path:
        raise SeptemberError(
            "INVALID_REQUEST",
            f"{field}: {path!r} is not a path below the workspace;"
            " use a relative path without '..'",
            {"field": field, "path": path},
        )


def _place(workspace: Path, files: Mapping[str, str], field: str) -> None:
    workspace.mkdir(parents=True, exist_ok=True)
    root = workspace.resolve()
    for path, text in files.items():
        check_path(path, field)
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        _refuse_escape(root, target, path, field)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)


def _refuse_escape(root: Path, target: Path, path: str, field: str) -> None:
    """A symlink that an earlier command left must not lead the write out of the workspace."""
    if not target.parent.resolve().is_relative_to(root):
        raise SeptemberError(
            "INVALID_REQUEST",
            f"{field}: {path!r} leads out of the workspace through a symbolic link",
            {"field": field, "path": path},
        )
