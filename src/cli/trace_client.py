"""What the trace commands ask of a service: JSON answers and endless streams, with its key."""

import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Final, TypeVar

import click
import httpx2
import msgspec

from ..errors import SeptemberError
from .chat import DEFAULT_URL

T = TypeVar("T")

_TIMEOUT: Final = httpx2.Timeout(10.0, read=30.0)


class _Refusal(msgspec.Struct):
    """The Engine's envelope of an error."""

    error: str
    message: str


class _Inner(msgspec.Struct):
    code: str
    message: str


class _Nested(msgspec.Struct):
    """The orchestrator's."""

    error: _Inner


def reaches_service(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options --url, --key and --fleet; it gets a `client` for them."""

    @click.option("--url", help="Its address [ENGINE_URL, or ORCH_URL with --fleet].")
    @click.option("--key", help="The key [ENGINE_API_KEY, or ORCH_ADMIN_KEY with --fleet].")
    @click.option("--fleet", is_flag=True, help="Ask an orchestrator rather than an Engine.")
    @wraps(command)
    def reaching(url: str | None, key: str | None, fleet: bool, **more: object) -> None:
        command(client=_client(url, key, _ORCHESTRATOR if fleet else _ENGINE), **more)

    return reaching


@dataclass(frozen=True, slots=True)
class _Kind:
    """A service: where its address and its key stand, and how its key is sent."""

    name: str
    header: str
    url: str
    key: str


_ENGINE: Final = _Kind("Engine", "X-Engine-Key", "ENGINE_URL", "ENGINE_API_KEY")
_ORCHESTRATOR: Final = _Kind("orchestrator", "X-Admin-Key", "ORCH_URL", "ORCH_ADMIN_KEY")


def _client(url: str | None, key: str | None, kind: _Kind) -> "TraceClient":
    key = key or os.environ.get(kind.key)
    if not key:
        raise click.UsageError(f"no key; set {kind.key} or give --key")
    return TraceClient(url or os.environ.get(kind.url) or DEFAULT_URL, key, kind.name, kind.header)


@dataclass(frozen=True, slots=True)
class TraceClient:
    """Asks one service. Methods raise SeptemberError: its own refusal, or that it is gone."""

    url: str
    key: str
    service: str = _ENGINE.name
    header: str = _ENGINE.header

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
        headers = {self.header: self.key}
        try:
            with httpx2.Client(base_url=self.url, headers=headers, timeout=_TIMEOUT) as http:
                yield http
        except httpx2.TransportError as error:
            reason = (
                f"nothing answers at {self.url} ({error}); is the {self.service} running there?"
            )
            raise SeptemberError("INTERNAL", reason) from error


def _refusal(answer: httpx2.Response) -> SeptemberError:
    try:
        nested = msgspec.json.decode(answer.content, type=_Nested).error
        return SeptemberError(nested.code, nested.message)
    except msgspec.DecodeError:
        pass
    try:
        told = msgspec.json.decode(answer.content, type=_Refusal)
    except msgspec.DecodeError:
        return SeptemberError("INTERNAL", f"the answer was {answer.status_code}")
    return SeptemberError(told.error, told.message)
