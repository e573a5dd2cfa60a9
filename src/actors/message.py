"""Messages, and the answers a handler gives to them."""

from collections.abc import Awaitable, Callable
from typing import Final, Generic, Protocol, Self, TypeVar, final

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
M_co = TypeVar("M_co", covariant=True)


@final
class Reply:
    """An answer, ready now. Only `Message.reply` and `Message.done` make one."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value


@final
class Later:
    """An answer that `work` will return; the actor takes its next message meanwhile.

    `work` must not touch the actor's state: it gets what it needs as arguments.
    """

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], Awaitable[object]]) -> None:
        self.work = work


_DONE: Final = Reply(None)


class Message(Generic[R]):
    """A request whose answer is an `R`. Subclass it as a frozen struct or dataclass with slots."""

    __slots__ = ()

    def reply(self, value: R) -> Reply:
        """Answer with `value`; the checker verifies that it is an `R`."""
        return Reply(value)

    def done(self: "Message[None]") -> Reply:
        """Answer a message that asks for nothing."""
        return _DONE

    def reply_after(self, work: Callable[[], Awaitable[R]]) -> Later:
        """Answer with what `work` returns; it runs beside the inbox, in the actor's own nursery.

        Cancelled when the caller gives up or the actor stops; its exception crashes the actor.
        """
        return Later(work)

    def _asks(self) -> tuple[Self, R]:
        """Tell the type checker, and nobody else, what this message is and asks for."""
        raise NotImplementedError


class Asks(Protocol[M_co, R_co]):
    """Any message in the inbox `M_co` that is answered with an `R_co`."""

    def _asks(self) -> tuple[M_co, R_co]: ...
