"""One MCP session through the official SDK: the only file that knows the SDK's types.

The session lives in the task that opened it. Calls come from other tasks; each ends with the
session, whatever the transport does: a transport that dies may say so to nobody.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from math import inf
from typing import Any, Final, Protocol, TypeVar

import trio
from msgspec.structs import replace

from ...actors import current_span
from ..channels.events import JsonObject
from .actions import NOBODY, Action, Caller, Content, Listed, Progress
from .content import content_of, resource_content
from .definitions import ServerDefinition
from .schemas import checked

T = TypeVar("T")

MOST_ACTIONS: Final = 512
"""Actions taken from one server; a listing without end is no reason to run out of memory."""

_PATIENCE: Final = 10
"""A call that reports progress may last this many times its timeout."""

_PROBE_S: Final = 2.0

_MODERN: Final = "2026-07-28"
"""From this revision of the protocol on, changes come in a stream that is asked for."""


class ConnectionLost(Exception):
    """The session ended before the answer came."""


class NoAnswer(Exception):
    """The server was silent for longer than the call's timeout."""


class Host(Protocol):
    """What a session reports and asks; `sample` and `elicit` answer in the SDK's types."""

    def actions_changed(self) -> None:
        """The server offers other actions than before."""
        ...

    async def sample(self, params: Any) -> Any:
        """Let the model answer for the server."""
        ...

    async def elicit(self, params: Any, caller: Caller) -> Any:
        """Let a person answer the server."""
        ...


class Session:
    """An open session. Every method raises ConnectionLost when it ends meanwhile."""

    def __init__(self, definition: ServerDefinition) -> None:
        self._definition = definition
        self._client: Any = None
        self._scopes: set[trio.CancelScope] = set()
        self._callers: list[Caller] = []
        self._patiences: set[_Patience] = set()
        self.ended = trio.Event()

    @property
    def caller(self) -> Caller:
        """On whose behalf the server acts now: the call that was made last."""
        return self._callers[-1] if self._callers else NOBODY

    @contextmanager
    def attending(self) -> Generator[None]:
        """The server waits for us, so it is not silent: a person may take days to answer."""
        waiting = tuple(self._patiences)
        for one in waiting:
            one.pause()
        try:
            yield
        finally:
            for one in waiting:
                one.resume()

    def begin(self, client: Any) -> None:
        """The handshake is done."""
        self._client = client

    def end(self) -> None:
        """Nothing more will come: fail what waits."""
        self.ended.set()
        for scope in tuple(self._scopes):
            scope.cancel(reason="the MCP session ended")

    async def actions(self) -> tuple[Action, ...]:
        """Everything the server offers, page by page."""
        if self._client.server_capabilities.tools is None:
            return ()
        tools = await self._pages("list_tools", "tools")
        return tuple(self._action(tool) for tool in tools[:MOST_ACTIONS])

    async def call(self, action: str, arguments: JsonObject, caller: Caller) -> Content:
        """Run an action. Raises NoAnswer after `timeout_s` of silence."""
        with self._on_behalf(caller), self._patience() as patience:

            async def told(done: float, total: float | None, message: str | None) -> None:
                patience.heard()
                if caller.on_progress is not None:
                    await caller.on_progress(Progress(done, total, message or ""))

            work = partial(self._client.call_tool, progress_callback=told, meta=_trace_context())
            result = await self._during(lambda: work(action, arguments))
        return self._limited(content_of(result))

    async def resources(self) -> tuple[Listed, ...]:
        """What can be read."""
        if self._client.server_capabilities.resources is None:
            return ()
        found = await self._pages("list_resources", "resources")
        return tuple(Listed(str(one.uri), one.description or one.name or "") for one in found)

    async def read(self, uri: str) -> Content:
        """Read a resource."""
        with self._patience():
            read = partial(self._client.read_resource, meta=_trace_context())
            result = await self._during(lambda: read(uri))
        return self._limited(resource_content(result))

    async def prompts(self) -> tuple[Listed, ...]:
        """Prompt templates, with their arguments in the description."""
        if self._client.server_capabilities.prompts is None:
            return ()
        found = await self._pages("list_prompts", "prompts")
        return tuple(Listed(one.name, _prompt_description(one)) for one in found)

    async def prompt(self, name: str, arguments: dict[str, str]) -> Content:
        """A prompt filled in, as text."""
        with self._patience():
            get = partial(self._client.get_prompt, meta=_trace_context())
            result = await self._during(lambda: get(name, arguments))
        text = "\n".join(f"{one.role}: {_text(one.content)}" for one in result.messages)
        return self._limited(Content(text))

    async def responsive(self) -> bool:
        """Whether the server answers anything at all within two seconds."""
        with trio.move_on_after(_PROBE_S):
            await self._during(lambda: self._client.list_tools(cache_mode="bypass"))
            return True
        return False

    def _limited(self, content: Content) -> Content:
        return replace(content, limit=self._definition.output_limit)

    def _action(self, tool: Any) -> Action:
        hints = tool.annotations
        destructive = bool(hints is not None and hints.destructive_hint)
        return Action(
            server=self._definition.name,
            name=tool.name,
            description=(tool.description or tool.title or tool.name)[:4096],
            input_schema=checked(tool.input_schema),
            requires_permission=destructive or self._definition.asks(tool.name),
        )

    async def _pages(self, method: str, field: str) -> list[Any]:
        found: list[Any] = []
        cursor: str | None = None
        with self._patience():
            while len(found) < MOST_ACTIONS:
                fetch: Callable[..., Awaitable[Any]] = getattr(self._client, method)
                page = await self._during(partial(fetch, cursor=cursor, cache_mode="bypass"))
                found += getattr(page, field)
                cursor = page.next_cursor
                if not cursor:
                    break
        return found

    async def _during(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do it, unless the session ends first; a refusal of the server's is Refused."""
        from mcp.shared.exceptions import MCPError

        if self.ended.is_set():
            raise ConnectionLost
        scope = trio.CancelScope()
        self._scopes.add(scope)
        try:
            with scope:
                return await work()
        except MCPError as error:
            if error.code == -32000 or self.ended.is_set():
                raise ConnectionLost from error
            raise Refused(error.message) from error
        finally:
            self._scopes.discard(scope)
        raise ConnectionLost

    @contextmanager
    def _on_behalf(self, caller: Caller) -> Generator[None]:
        self._callers.append(caller)
        try:
            yield
        finally:
            self._callers.remove(caller)

    @contextmanager
    def _patience(self) -> Generator["_Patience"]:
        patience = _Patience(self._definition.timeout_s)
        self._patiences.add(patience)
        try:
            with patience.scope:
                yield patience
        finally:
            self._patiences.discard(patience)
        if patience.scope.cancelled_caught:
            raise NoAnswer


class Refused(Exception):
    """The server refused a request; the text is its own."""


class _Patience:
    """How long a call may be silent, and how long it may last altogether; seconds."""

    def __init__(self, silence: float) -> None:
        self._silence = silence
        self._last = trio.current_time() + _PATIENCE * silence
        self._pauses = 0
        self._paused_at = 0.0
        self.scope = trio.CancelScope(deadline=trio.current_time() + silence)

    def heard(self) -> None:
        """The server has said something: wait again."""
        if not self._pauses:
            self.scope.deadline = min(self._last, trio.current_time() + self._silence)

    def pause(self) -> None:
        """Stop the clocks until `resume` was called as often."""
        if not self._pauses:
            self._paused_at = trio.current_time()
            self.scope.deadline = inf
        self._pauses += 1

    def resume(self) -> None:
        """Let the clocks go on."""
        self._pauses -= 1
        if not self._pauses:
            self._last += trio.current_time() - self._paused_at
            self.heard()


def load_sdk() -> None:
    """Import the SDK (0.7 s, 25 MB): in a thread, before the first session."""

    # Its log lines quote what servers send, secrets included; what matters is told here.
    logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)


@asynccontextmanager
async def opened(
    definition: ServerDefinition,
    transport: AbstractAsyncContextManager[tuple[Any, Any]],
    host: Host,
) -> AsyncGenerator[Session]:
    """Connect and shake hands; the session ends with the transport.

    Raises whatever the transport raises, in exception groups, also in the body.
    """
    import mcp.client.client as sdk
    from mcp_types import Implementation, ToolListChangedNotification

    session = Session(definition)

    async def heard(message: Any) -> None:
        if isinstance(message, ToolListChangedNotification):
            host.actions_changed()
        await trio.lowlevel.checkpoint()

    async def sample(_context: Any, params: Any) -> Any:
        with session.attending():
            return await host.sample(params)

    async def elicit(_context: Any, params: Any) -> Any:
        with session.attending():
            return await host.elicit(params, session.caller)

    make_client: Any = sdk.Client  # its callback types are narrower than what it takes
    client = make_client(
        _watched(transport, session),
        sampling_callback=sample,
        elicitation_callback=elicit,
        message_handler=heard,
        client_info=Implementation(name="september", version="1"),
        cache=None,
    )
    try:
        async with client:
            session.begin(client)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_listen, client, host)
                yield session
                nursery.cancel_scope.cancel()
    finally:
        session.end()


async def _listen(client: Any, host: Host) -> None:
    """Hear of changes from a server of the 2026-07-28 protocol, which does not just tell."""
    if client.protocol_version < _MODERN:
        return
    try:
        async with client.listen(tools_list_changed=True) as changes:
            async for _change in changes:
                host.actions_changed()
    except Exception:  # a server that offers no such stream changes nothing
        return


@asynccontextmanager
async def _watched(
    transport: AbstractAsyncContextManager[tuple[Any, Any]], session: Session
) -> AsyncGenerator[tuple[Any, Any]]:
    """The transport, with its end made known: the SDK tells nobody that an idle server died."""
    async with transport as (arriving, leaving):
        yield _Watched(arriving, session), leaving


class _Watched:
    """A read stream that ends the session when it ends."""

    def __init__(self, stream: Any, session: Session) -> None:
        self._stream = stream
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __aiter__(self) -> "_Watched":
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._session.end()
            raise

    async def __aenter__(self) -> "_Watched":
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        left: bool | None = await self._stream.__aexit__(*error)
        return left


def _prompt_description(prompt: Any) -> str:
    names = ", ".join(f"{one.name}{'' if one.required else '?'}" for one in prompt.arguments or ())
    return f"{prompt.description or ''} ({names})" if names else prompt.description or ""


def _trace_context() -> dict[str, str]:
    """What lets a server continue this trace: `_meta.traceparent`, on every transport (SEP-414)."""
    span = current_span()
    return {"traceparent": span.traceparent} if span is not None else {}


def _text(block: Any) -> str:
    return str(getattr(block, "text", None) or f"[{block.type}]")
