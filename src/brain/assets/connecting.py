"""What connecting takes beside the directory's inbox: waiting for servers and for consent."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

import trio

from ...actors import ActorError, ActorRef, DynamicRef
from ...errors import SeptemberError
from ...logs import get_logger
from .connection import AwaitSettled, ConnectionMessage, Redial
from .credentials import Flow
from .keeper import BeginFlow, FinishFlow, KeeperMessage, Revoke
from .line import LineState

_log = get_logger("september.assets")

_CONNECT_S: Final = 25.0
"""How long POST /assets/connect waits for the server before it answers `connecting`."""


@dataclass(frozen=True, slots=True)
class Connected:
    """What POST /assets/connect came to; `auth_url` when a person has to consent first."""

    ref_id: str
    status: str
    auth_url: str | None = field(default=None, repr=False)


async def settled(
    connection: ActorRef[ConnectionMessage], ref_id: str
) -> Connected | SeptemberError:
    """Wait for the first connection; a server that cannot be reached stays and is tried again."""
    with trio.move_on_after(_CONNECT_S):
        standing = await connection.call(AwaitSettled())
        if standing.state is LineState.CONNECTED:
            return Connected(ref_id, "connected")
        if standing.problem is not None:
            problem = standing.problem
            return SeptemberError(
                problem.code, problem.message, {**problem.details, "ref_id": ref_id}
            )
    return Connected(ref_id, "connecting")


async def consent(
    keeper: ActorRef[KeeperMessage], ref_id: str, redirect_uri: str
) -> Connected | SeptemberError:
    """Where the person goes to consent."""
    begun = await keeper.call(BeginFlow(redirect_uri))
    if isinstance(begun, SeptemberError):
        return begun
    return Connected(ref_id, "pending_oauth", begun.url)


async def finish(
    keeper: ActorRef[KeeperMessage],
    flow: Flow,
    code: str,
    open_connection: Callable[[], Awaitable[ActorRef[ConnectionMessage]]],
) -> Connected | SeptemberError:
    """Turn the code into tokens, then connect with them."""
    refusal = await keeper.call(FinishFlow(flow, code))
    if refusal is not None:
        return refusal
    connection = await open_connection()
    connection.cast(Redial())
    return await settled(connection, flow.ref_id)


async def revoke(
    keeper: ActorRef[KeeperMessage] | None, keepers: DynamicRef[KeeperMessage], ref_id: str
) -> None:
    """Tell the authorization server; it may be gone, the connection goes all the same."""
    if keeper is not None:
        try:
            await keeper.call(Revoke())
        except ActorError:
            _log.warning("credential not revoked", ref_id=ref_id)
        await keepers.stop(ref_id)
