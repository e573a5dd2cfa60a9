"""Dates that a question names, so that memories of that time come first."""

import re
from datetime import UTC, date, datetime
from typing import Final

from msgspec import Struct

MONTHS: Final = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
_NAMES: Final = "|".join((*MONTHS, *(name[:3] for name in MONTHS if name != "may"), "sept"))
_NUMBER: Final = r"(\d{1,2})(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:,?\s+((?:19|20)\d\d))?"
_MONTH_FIRST: Final = re.compile(rf"\b({_NAMES})\b\.?(?:\s+{_NUMBER}\b)?{_YEAR}", re.IGNORECASE)
_DAY_FIRST: Final = re.compile(rf"\b{_NUMBER}\s+(?:of\s+)?({_NAMES})\b\.?{_YEAR}", re.IGNORECASE)
_ISO: Final = re.compile(r"\b((?:19|20)\d\d)-(\d\d)(?:-(\d\d))?\b")

DAYS_AFTER: Final = 3
DAYS_BEFORE: Final = 1
"""People speak of a day up to so many days later, and plan it the day before."""


class NamedDate(Struct, frozen=True):
    """A month, with its day and year where they are said."""

    month: int
    day: int | None = None
    year: int | None = None

    def fit(self, occurred_at: int) -> float:
        """How well a moment (milliseconds) fits: 1 the day or, where no day is named, the month.

        Half for the right month of a named day, else 0.
        """
        then = datetime.fromtimestamp(occurred_at / 1000, UTC).date()
        same_month = then.month == self.month and self.year in (None, then.year)
        if self.day is None:
            return 1.0 if same_month else 0.0
        return 1.0 if self._is_near(then) else 0.5 if same_month else 0.0

    def _is_near(self, then: date) -> bool:
        try:
            named = date(self.year or then.year, self.month, self.day or 1)
        except ValueError:
            return False
        return -DAYS_BEFORE <= (then - named).days <= DAYS_AFTER


def named_date(text: str) -> NamedDate | None:
    """The first date in `text`, or None. The verb "may" is no month: it has no capital."""
    if iso := _ISO.search(text):
        return _date(int(iso[2]), iso[3], iso[1])
    for found in _DAY_FIRST.finditer(text):
        return _date(_month(found[2]), found[1], found[3])
    for found in _MONTH_FIRST.finditer(text):
        said = found[2] or found[3]
        if said or found[1].lower() not in ("may", "march") or found[1][0].isupper():
            return _date(_month(found[1]), found[2], found[3])
    return None


def _month(name: str) -> int:
    return next(at for at, full in enumerate(MONTHS, 1) if full.startswith(name.lower()[:3]))


def _date(month: int, day: str | None, year: str | None) -> NamedDate | None:
    if not 1 <= month <= 12:
        return None
    return NamedDate(month, int(day) if day else None, int(year) if year else None)
