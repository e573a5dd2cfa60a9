"""Telemetry: the actor that sends what is observed to a collector. Never in anybody's way.

Sending happens in a thread; meanwhile observations wait in a bounded queue, and what finds no room
or does not get through is counted. A collector that is gone costs nothing but that.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias, assert_never

import trio

from ..actors import Actor, ChildSpec, Later, Message, Reply, Trace, Traced, span_scope
from ..logs import get_logger
from .otlp import Destination, Exporter, destination
from .recorder import SILENT, Recorder
from .render import Renderer
from .row import Losses

_log = get_logger("september.telemetry")

GOODBYE_S: Final = 2.5
"""What the last spans and metrics may take together when the service stops."""


@dataclass(frozen=True, slots=True)
class Export(Message[None]):
    """Send what is observed from now on; Telemetry tells itself, once in each of its lives."""


@dataclass(frozen=True, slots=True)
class Flush(Message[None]):
    """Send all that was observed before this."""


TelemetryMessage: TypeAlias = Export | Flush


class TelemetrySpecs:
    """The actors that send a service's telemetry: one, or none if no collector is set.

    Raises ConfigError when there is one that cannot be spoken to.
    """

    def __init__(
        self, trace: Trace | None, render: Renderer, endpoint: str | None, service: str
    ) -> None:
        self.children: tuple[ChildSpec[TelemetryMessage], ...] = ()
        self._recorder: Recorder | None = None
        to = destination(endpoint, service)
        if to is not None and trace is not None:
            recorder = self._recorder = Recorder(trace, render, to.room)
            self.children = (ChildSpec("telemetry", lambda: Telemetry(recorder, to)),)

    @property
    def losses(self) -> Losses:
        """What was not sent since the process began."""
        return self._recorder.losses if self._recorder is not None else Losses()


class Telemetry(Actor[TelemetryMessage]):
    """Takes observations from the recorder and sends them. Boot fails if the SDK cannot start."""

    def __init__(self, recorder: Recorder, to: Destination) -> None:
        self._recorder = recorder
        self._to = to
        self._sender: Sender | None = None

    async def started(self) -> None:
        exporter = await trio.to_thread.run_sync(self._to.open)
        self._sender = Sender(self._recorder, self._to, exporter)
        self.ref.cast(Export())

    async def handle(self, msg: TelemetryMessage) -> Reply | Later:
        assert self._sender is not None  # started has made it
        match msg:
            case Export():
                return msg.reply_after(self._sender.run)
            case Flush():
                return msg.reply_after(self._sender.flush)
            case _:
                assert_never(msg)

    async def stopping(self) -> None:
        if self._sender is not None:
            await self._sender.close()


class Sender:
    """Sends batch after batch."""

    def __init__(self, recorder: Recorder, to: Destination, exporter: Exporter) -> None:
        self._recorder = recorder
        self._to = to
        self._exporter = exporter
        self._sending = trio.Lock()
        self._failing = False

    async def run(self) -> None:
        """Send for ever."""
        with span_scope(SILENT):
            while True:
                await self._recorder.wait()
                await trio.sleep(self._to.delay_s)
                await self.flush()

    async def flush(self) -> None:
        """Send all that waits now."""
        async with self._sending:
            while taken := self._recorder.take(self._to.batch):
                await self._send(taken)

    async def close(self) -> None:
        """Send what is left, as far as there is time, and end the exporter's threads."""
        with trio.move_on_after(GOODBYE_S / 2):
            await self.flush()
        with trio.move_on_after(GOODBYE_S / 2):
            await trio.to_thread.run_sync(self._exporter.close, abandon_on_cancel=True)

    async def _send(self, taken: Sequence[Traced]) -> None:
        send = partial(self._deliver, list(taken))
        why = await trio.to_thread.run_sync(send, abandon_on_cancel=True)
        if why and not self._failing:
            _log.warning(
                "telemetry does not get through and is lost", to=self._to.endpoint, why=why
            )
        elif self._failing and not why:
            _log.info("telemetry gets through again", to=self._to.endpoint)
        self._failing = bool(why)

    def _deliver(self, taken: list[Traced]) -> str:
        """Render and send, in a thread; why it did not get through, or nothing."""
        try:
            lost = self._exporter.export(self._recorder.rows(taken))
        except Exception as error:  # a bug of the SDK's is no reason to end an Engine
            self._recorder.gave_up(len(taken))
            return repr(error)
        self._recorder.gave_up(lost)
        return f"{lost} spans were refused or not answered" if lost else ""
