"""A turn's seat: its place among the task slots."""

from ...actors import ActorRef
from .slots import Admit, AwaitSlot, Full, Release, SlotMessage


class SlotSeat:
    """One turn's right to run, backed by the task slots."""

    def __init__(self, slots: ActorRef[SlotMessage], turn_id: str) -> None:
        self._slots = slots
        self._turn = turn_id

    async def take(self) -> None:
        """Wait until this turn has a slot."""
        await self._slots.call(AwaitSlot(self._turn))

    async def ahead(self) -> int:
        """How many turns must make room first."""
        admission = await self._slots.call(Admit(self._turn, always=True))
        return 0 if isinstance(admission, Full) else admission.ahead

    def leave(self) -> None:
        """Give the slot back."""
        self._slots.cast(Release(self._turn))
