"""The pages for people: self-contained HTML files beside this one."""

from importlib.resources import files


def page(name: str) -> str:
    """The HTML of the page `name`."""
    return (files(__name__.rpartition(".")[0]) / f"{name}.html").read_text(encoding="utf-8")
