"""Where the value of a setting comes from: a variable, the file `.env`, or its default."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from ..config import SETTINGS, EngineConfig, Setting, load_engine_config

DOTENV: Final = Path(".env")
"""Settings beside the place where one stands; variables of the environment win over it."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What was written down for the settings, before anything is checked."""

    environment: Mapping[str, str]
    dotenv: Mapping[str, str]

    def source(self, name: str) -> str:
        """Where the text of `name` comes from; empty if nobody set it."""
        if self.environment.get(name, "").strip():
            return "environment"
        return str(DOTENV) if self.dotenv.get(name, "").strip() else ""

    def get(self, name: str) -> str | None:
        """The text of `name`, or None."""
        return (self.environment.get(name) or self.dotenv.get(name) or "").strip() or None

    def value(self, name: str) -> object:
        """The value of one setting, without a look at the others. Raises ConfigError."""
        row = row_of(name)
        text = self.get(name) or row.default
        return None if text is None else row.parse(text)

    def path(self, name: str) -> Path | None:
        """The value of a setting that is a path. Raises ConfigError."""
        value = self.value(name)
        return value if isinstance(value, Path) else None


def written() -> Texts:
    """The texts that apply here and now."""
    found = dotenv_values(DOTENV, interpolate=False) if DOTENV.exists() else {}
    return Texts(os.environ, {name: text for name, text in found.items() if text is not None})


def row_of(name: str) -> Setting:
    """The row of a setting."""
    return next(row for row in SETTINGS if row.name == name)


def load(**overrides: object) -> EngineConfig:
    """The Engine's settings; an override is an option of the command line, None if not given.

    Raises ConfigError.
    """
    given = {name: str(value) for name, value in overrides.items() if value is not None}
    return load_engine_config({**os.environ, **given}, DOTENV)
