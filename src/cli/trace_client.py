"""What the trace commands ask of a service: JSON answers and endless streams, with its key."""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

import click
import httpx2
import msgspec

from ..errors import SeptemberError
from .chat import DEFAULT_URL

T = TypeVar("T")

F = TypeVar("F", bound=Callable[..., object])

_TIMEOUT: Final = httpx2.Timeout(10.0, read=30.0)


class _Refusal(msgspec.Struct):
    """The Engine's envelope of an error."""

    error: str
    message: str


def reaches_engine(command: F) -> F:
    """Give a command the options --url and --key."""
    url = click.option("--url", envvar="ENGINE_URL", default=DEFAULT_URL, show_default=True)
    key = click.option("--key", envvar="ENGINE_API_KEY", help="The key [ENGINE_API_KEY].")
    return url(key(command))


@dataclass(frozen=True, slots=True)
class TraceClient:
    """Asks one service. Methods raise SeptemberError: its own refusal, or that it is gone."""

    url: str
    key: str | None

    def get(self, path: str, kind: type[T], **query: str | int | bool | None) -> T:
        """The answer to a GET, as `kind`."""
        given = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in query.items()
            if value is not None and value is not False
        }
        with self._http() as http:
            answer = http.get(path, params=given)
            if answer.status_code != 200:
                raise _refusal(answer)
            return msgspec.json.decode(answer.content, type=kind)

    def follow(self, path: str, kind: type[T], **query: str | int) -> Iterator[T]:
        """The `data` lines of a stream, as `kind`, until it ends."""
        given = {name: str(value) for name, value in query.items()}
        with self._http() as http, http.stream("GET", path, params=given) as answer:
            if answer.status_code != 200:
                answer.read()
                raise _refusal(answer)
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield msgspec.json.decode(line[6:], type=kind)

    @contextmanager
    def _http(self) -> Generator[httpx2.Client]:
        if not self.key:
            raise click.UsageError("no key; set ENGINE_API_KEY or give --key")
        headers = {"X-Engine-Key": self.key}
        try:
            with httpx2.Client(base_url=self.url, headers=headers, timeout=_TIMEOUT) as http:
                yield http
        except httpx2.TransportError as error:
            reason = f"nothing answers at {self.url} ({error}); is the Engine running there?"
            raise SeptemberError("INTERNAL", reason) from error


def _refusal(answer: httpx2.Response) -> SeptemberError:
    try:
        told = msgspec.json.decode(answer.content, type=_Refusal)
    except msgspec.DecodeError:
        return SeptemberError("INTERNAL", f"the answer was {answer.status_code}")
    return SeptemberError(told.error, told.message)
