"""Reading the catalog's files; a complaint names the file, the field and the remedy."""

from collections.abc import Iterator
from importlib.resources.abc import Traversable
from typing import TypeVar

import msgspec

from ...errors import ConfigError, located

T = TypeVar("T")


class CatalogError(ConfigError):
    """A file of the catalog is wrong; `details` name it, and the field when there is one."""

    def __init__(self, file: Traversable | str, problem: str, field: str = "") -> None:
        where = f"{file}: {field}: " if field else f"{file}: "
        super().__init__("CATALOG_DIR", where + problem)
        self.details["file"] = str(file)
        if field:
            self.details["field"] = field


def decode(file: Traversable, kind: type[T]) -> T:
    """The JSON file as `kind`. Raises CatalogError."""
    try:
        return msgspec.json.decode(text(file), type=kind)
    except msgspec.ValidationError as error:
        problem, field, _ = located(str(error))
        raise CatalogError(file, problem, field) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise CatalogError(file, f"no valid JSON: {error}") from error


def text(file: Traversable) -> str:
    """The file's text. Raises CatalogError."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(file, f"cannot be read: {error}") from error


def entries(folder: Traversable) -> Iterator[Traversable]:
    """What is in the folder, by name, without hidden files; nothing when there is no folder."""
    if folder.is_dir():
        for entry in sorted(folder.iterdir(), key=lambda one: one.name):
            if not entry.name.startswith("."):
                yield entry


def same_name(file: Traversable, name: str, expected: str) -> None:
    """Raise CatalogError unless the definition is called as its file or folder is."""
    if name != expected:
        raise CatalogError(
            file, f"is {name!r}, but the file's place says {expected!r}; make them equal", "name"
        )
