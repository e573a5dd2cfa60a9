"""The one shape that everything between the server and the routes has."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

AsgiApp: TypeAlias = Callable[[Scope, ASGIReceiveCallable, ASGISendCallable], Awaitable[None]]


async def send_whole(
    send: ASGISendCallable, status: int, headers: Iterable[tuple[str, str]], body: bytes
) -> None:
    """Send an answer in one piece."""
    fields = [*headers, ("content-length", str(len(body)))]
    raw = [(name.encode(), value.encode()) for name, value in fields]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def live(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Nothing is to be done when the server starts or ends: the actor tree is beside it."""
    while True:
        event = await receive()
        if event["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif event["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return


class LateApp:
    """An ASGI app that is made, in a thread, when it is first needed: `make` takes its time."""

    def __init__(self, make: Callable[[], AsgiApp]) -> None:
        self._make = make
        self._lock = trio.Lock()
        self._app: AsgiApp | None = None

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        if scope["type"] == "lifespan":
            return await live(receive, send)
        app = self._app or await self.made()
        await app(scope, receive, send)

    async def made(self) -> AsgiApp:
        """The app; whoever is cancelled meanwhile leaves the making to the others."""
        async with self._lock:
            if self._app is None:
                self._app = await trio.to_thread.run_sync(self._make, abandon_on_cancel=True)
            return self._app
