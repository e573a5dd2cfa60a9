"""What a turn is asked to do, as stored with it so that it can be taken up after a restart."""

from msgspec import Struct

from ..channels.events import JsonObject
from ..herald.conversation import MediaBlock


class TurnRequest(Struct, frozen=True, kw_only=True):
    """The body of POST /execute after validation (contract, sections 4 and 19.5)."""

    message: str
    agent: str = "assistant"
    media: tuple[MediaBlock, ...] = ()
    direct: bool = False
    super_thinking: bool = False
    response_schema: JsonObject | None = None
    files: dict[str, str] = {}
    edit_message_id: str | None = None
    retry_message_id: str | None = None
