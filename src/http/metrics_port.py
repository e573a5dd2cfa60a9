"""What HTTP needs of an Engine's metrics: to be counted, and to be read."""

from typing import Protocol


class MetricsPort(Protocol):
    """The metrics of an Engine."""

    def count_request(
        self, method: str, route: str, status: int, seconds: float, code: str
    ) -> None:
        """Count an answered request: its path in the API, and the code of its refusal, if any."""
        ...

    def expose(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an Accept header asks for, and its content type."""
        ...
