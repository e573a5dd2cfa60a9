"""The ways a service tells its client how long to wait."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from .script import RateLimit


def wait_headers(step: RateLimit) -> tuple[tuple[str, str], ...]:
    """The headers of a 429; none when the wait is told in the body or not at all."""
    match step.form:
        case "seconds":
            return (("Retry-After", f"{step.retry_after:g}"),)
        case "ms":
            return (("Retry-After-Ms", f"{step.retry_after * 1000:g}"), ("Retry-After", "60"))
        case "date":
            moment = datetime.now(UTC) + timedelta(seconds=step.retry_after)
            return (("Retry-After", format_datetime(moment, usegmt=True)),)
        case _:
            return ()
