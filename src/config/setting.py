"""One row of a settings table: how a dataclass declares it and how variables fill it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from io import StringIO
from pathlib import Path
from typing import Any, TypeVar, cast

from dotenv import dotenv_values

from ..errors import ConfigError
from .kinds import Kind, choice

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Setting:
    """A variable: its name, kind, default and meaning.

    `default` is the text one would write, or None where the setting may be absent or takes its
    default from other settings.
    """

    name: str
    kind: Kind[object]
    default: str | None
    meaning: str

    def parse(self, text: str) -> object:
        """Read `text`; raise ConfigError naming the variable, and the text unless it is secret."""
        try:
            return self.kind.parse(text)
        except ValueError as error:
            shown = "" if self.kind.secret else f", not {text!r}"
            raise ConfigError(self.name, f"{error}{shown}") from None

    def shown(self, config: object) -> str:
        """Return this setting's value in `config` as one may print it."""
        value: object = getattr(config, self.name.lower())
        if isinstance(value, tuple):
            return ",".join(map(str, cast("tuple[object, ...]", value)))
        if isinstance(value, bool):
            return str(value).lower()  # as it is written, not as Python says it
        return "" if value is None else str(value)


def setting(kind: Kind[T], default: str, meaning: str) -> T:
    """Declare a setting whose default is the text `default`, read as any other."""
    row = Setting("", kind, default, meaning)
    return field(default=kind.parse(default), metadata={"setting": row})


def one_of(default: T, *others: T, meaning: str) -> T:
    """Declare a setting with a closed set of values, the default first."""
    return setting(choice(default, *others), str(default), meaning)


def optional(kind: Kind[T], meaning: str) -> T | None:
    """Declare a setting that may be absent."""
    row = Setting("", kind, None, meaning)
    return field(default=None, metadata={"setting": row})


def derived(kind: Kind[T], until_then: T, meaning: str) -> T:
    """Declare a setting that `__post_init__` takes from others where it is still `until_then`."""
    row = Setting("", kind, None, meaning)
    return field(default=until_then, metadata={"setting": row})


def rows(table: type) -> tuple[Setting, ...]:
    """Return the rows of a settings dataclass, in its order."""

    def named(name: str, row: Setting) -> Setting:
        return Setting(name.upper(), row.kind, row.default, row.meaning)

    settings = (item for item in fields(table) if "setting" in item.metadata)
    return tuple(named(item.name, item.metadata["setting"]) for item in settings)


def written_texts(env: Mapping[str, str], dotenv: Path | None) -> dict[str, str]:
    """Every text of `env` and, below it, of the file `dotenv`. Raises ConfigError."""
    return {**(_read_dotenv(dotenv) if dotenv else {}), **env}


def read(
    table: tuple[Setting, ...], env: Mapping[str, str], dotenv: Path | None
) -> dict[str, Any]:  # each value is of the type of its own field: it comes from that field's kind
    """Return the values that `env`, and below it the file `dotenv`, give to rows of `table`.

    Keys are field names. A `dotenv` that does not exist gives nothing. Raises ConfigError.
    """
    texts = written_texts(env, dotenv)
    values: dict[str, Any] = {}
    for row in table:
        text = texts.get(row.name)
        if text is not None and (text.strip() or not row.kind.empty_is_unset):
            values[row.name.lower()] = row.parse(text.strip())
    return values


def _read_dotenv(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        values = dotenv_values(stream=StringIO(path.read_text()), interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(str(path), f"cannot be read as settings: {error}") from error
    return {name: value for name, value in values.items() if value is not None}
