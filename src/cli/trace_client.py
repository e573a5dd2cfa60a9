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
import trio

from ..errors import SeptemberError
from .chat import DEFAULT_URL

as_json: Final = click.option("--json", is_flag=True, help="Print JSON, for programs.")

T = TypeVar("T")

_TIMEOUT: Final = httpx2.Timeout(10.0, read=30.0)

_RETRY_S: Final = (1, 2, 4, 8)
"""Pauses before a stream that was lost is asked for again; the last one repeats."""


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


def reaches_engine(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options --url and --key of an Engine; it gets a `client` for them."""

    @click.option("--url", help="Its address [ENGINE_URL].")
    @click.option("--key", help="The key [ENGINE_API_KEY].")
    @wraps(command)
    def reaching(url: str | None, key: str | None, **more: object) -> None:
        command(client=_client(url, key, _ENGINE), **more)

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

    def follow(
        self, path: str, kind: type[T], lost: Callable[[str], None], **query: str | int
    ) -> Iterator[T]:
        """The `data` lines of a stream, as `kind`, for ever.

        A stream that is lost is taken up again where it was, and `lost` is told. Raises
        SeptemberError if it was never there, or is refused.
        """
        given = {name: str(value) for name, value in query.items()}
        position, tried, began = dict[str, str](), 0, False
        while True:
            reason = f"{self.service} ended the stream"
            try:
                for line in self._lines(path, given, position):
                    began, tried = True, 0
                    if line.startswith("id: "):
                        position["Last-Event-ID"] = line[4:]
                    elif line.startswith("data: "):
                        yield msgspec.json.decode(line[6:], type=kind)
            except SeptemberError as error:
                if not began or error.code != "INTERNAL":
                    raise
                reason = error.message
            pause = _RETRY_S[min(tried, len(_RETRY_S) - 1)]
            tried += 1
            lost(f"{reason}; trying again in {pause} s")
            trio.run(trio.sleep, pause)

    def _lines(self, path: str, query: dict[str, str], headers: dict[str, str]) -> Iterator[str]:
        with (
            self._http() as http,
            http.stream("GET", path, params=query, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                answer.read()
                raise _refusal(answer)
            yield from answer.iter_lines()

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
