"""Figures that tests measure, printed at the end of the run."""

from statistics import median

FIGURES: dict[str, str] = {}


def note(name: str, value: object) -> None:
    """Have a figure printed."""
    FIGURES[name] = str(value)


def spread(values: list[float], unit: str = "ms") -> str:
    """Median and maximum of some figures."""
    return f"median {median(values):.1f} {unit}, max {max(values):.1f} {unit}, n {len(values)}"
