"""The page docs/settings.md, made from the table of settings."""

from typing import Final

from ..config import SETTINGS, Setting

_INTRODUCTION: Final = """\
# Settings of the Engine

<!-- made by `september docs settings`; a test keeps it so -->

Read once, at start, from the environment and below it from the file `.env`. Times are seconds.
A wrong value stops the start and names the variable. `september config` shows what is in force.

| variable | takes | default | meaning |
|---|---|---|---|
"""


def settings_page() -> str:
    """The page as Markdown."""
    return _INTRODUCTION + "".join(_line(row) for row in SETTINGS)


def _line(row: Setting) -> str:
    takes = row.kind.takes.replace("|", "\\|")
    default = f"`{row.default}`" if row.default else ""
    return f"| `{row.name}` | {takes} | {default} | {row.meaning} |\n"
