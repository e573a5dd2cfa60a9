"""Which files a tool may reach, and opening them so that nothing can be swapped in between.

A path is resolved first, links and all, and must then lie in a root. It is opened by walking down
from the root without following links: the resolved path holds none, so a link met on the way was
put there meanwhile, perhaps by a command of the same turn, and is refused.
"""

import errno
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from msgspec import Struct

from .refusal import Refusal

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Reached(Struct, frozen=True):
    """A resolved path inside a root: `parts` lead from the folder `root` to it."""

    root: Path
    parts: tuple[str, ...]
    shown: str

    @property
    def path(self) -> Path:
        """The whole path."""
        return self.root.joinpath(*self.parts)


def reach(text: str, workspace: Path, roots: Sequence[Path]) -> Reached:
    """Resolve a path, relative to the workspace. Raises Refusal if it leads outside the roots."""
    if "\0" in text:
        raise Refusal("invalid_path", "a path cannot contain the character NUL")
    home = Path(os.path.realpath(workspace))
    path = Path(os.path.realpath(home / text))
    for root in sorted({home, *(Path(os.path.realpath(root)) for root in roots)}, reverse=True):
        if path == root and not path.is_dir():
            return Reached(root.parent, (root.name,), _shown(path, home))
        if path == root or root in path.parents:
            return Reached(root, path.relative_to(root).parts, _shown(path, home))
    raise Refusal(
        "outside_roots",
        f"{text} leads to {path}, outside the folders of this task; use a path inside {home}",
    )


def _shown(path: Path, home: Path) -> str:
    return str(path.relative_to(home)) if home in path.parents or path == home else str(path)


@contextmanager
def folder_of(reached: Reached, *, make: bool = False) -> Generator[int]:
    """Open the folder the path stands in (for a root itself: the root); with `make`, make it.

    Yields a descriptor. Raises Refusal if a folder is missing or has become a link.
    """
    if make:
        reached.root.mkdir(parents=True, exist_ok=True)
    folder = _open(str(reached.root), reached, None)
    try:
        for part in reached.parts[:-1]:
            if make:
                _make(part, folder)
            inner = _open(part, reached, folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


@contextmanager
def folder_at(reached: Reached) -> Generator[int]:
    """Open the folder the path names. Yields a descriptor; raises Refusal if it is none."""
    with folder_of(reached) as parent:
        name = reached.parts[-1] if reached.parts else "."
        folder = _open(name, reached, parent)
    try:
        yield folder
    finally:
        os.close(folder)


def file_in(folder: int, reached: Reached) -> int:
    """Open the file for reading; never waits for a pipe's other end. Raises Refusal."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    name = reached.parts[-1] if reached.parts else "."
    try:
        return os.open(name, flags, dir_fd=folder)
    except OSError as error:
        raise refusal_of(error, reached) from error


def refusal_of(error: OSError, reached: Reached) -> Refusal:
    """What a failed system call means to the model."""
    path = reached.shown
    match error.errno:
        case errno.ENOENT:
            return Refusal("not_found", f"there is no {path}; look with find")
        case errno.ELOOP:
            return Refusal("changed", f"{path} changed while it was opened; try again")
        case errno.ENOTDIR:
            return Refusal("not_found", f"a part of {path} is no folder; look with find")
        case errno.EISDIR:
            return Refusal("is_directory", f"{path} is a folder; list it with find")
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return Refusal("permission_denied", f"{path} may not be accessed: {error.strerror}")
        case errno.ENAMETOOLONG:
            return Refusal("invalid_path", f"{path} is too long for a path")
        case _:
            return Refusal("io_error", f"{path}: {error.strerror}")


def _open(name: str, reached: Reached, folder: int | None) -> int:
    try:
        return os.open(name, _FOLDER, dir_fd=folder)
    except OSError as error:
        raise refusal_of(error, reached) from error


def _make(name: str, folder: int) -> None:
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return
