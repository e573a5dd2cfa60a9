"""What can go wrong between actors, as one tree.

ActorError
├ ActorStopped            the recipient is gone and will not come back
│ └ ActorCrashed          it crashed while it held this very message; `__cause__` is the crash
├ CallTimeout             the deadline of the call passed without an answer
├ MailboxFull             a cast found no room and the policy is not to lose or hold it
├ DeadlockDetected        the call would wait, through others, for itself
├ StartFailed             `started` or the factory of an actor raised; `__cause__` is why
├ AlreadyStarted          a dynamic supervisor already runs a child under that key
├ Killed                  an actor outlived its shutdown time and was cancelled
└ RestartsExhausted       a supervisor saw too many restarts in too short a time and gave up
"""

from collections.abc import Sequence
from typing import cast


class ActorError(Exception):
    """Root of everything the runtime raises."""


class ActorStopped(ActorError):
    """The recipient has stopped for good, so nobody will answer.

    Not raised while it is being restarted: then a call waits for the next incarnation.
    """

    def __init__(self, path: str, reason: str = "has stopped") -> None:
        super().__init__(f"{path} {reason}")
        self.path = path


class ActorCrashed(ActorStopped):
    """The recipient raised while it held this message; `__cause__` is what it raised.

    Only the sender of that message hears it: the others wait for the next incarnation.
    """

    def __init__(self, path: str, cause: BaseException) -> None:
        super().__init__(path, f"crashed: {type(cause).__name__}: {cause}")
        self.cause = cause


class CallTimeout(ActorError):
    """No answer before the deadline; the request was withdrawn.

    The deadline is the smaller of the call's own timeout and that of the message being handled.
    """

    def __init__(self, path: str, message: str, waited: float) -> None:
        super().__init__(f"{path} did not answer {message} within {waited:.3f} s")
        self.path = path
        self.waited = waited


class MailboxFull(ActorError):
    """A cast found the mailbox full; it was not delivered.

    A call never raises it: a call waits for room.
    """

    def __init__(self, path: str, capacity: int) -> None:
        super().__init__(f"the mailbox of {path} is full ({capacity} messages)")
        self.path = path
        self.capacity = capacity


class DeadlockDetected(ActorError):
    """The call would close a circle of actors that wait for each other; `path` is the circle."""

    def __init__(self, path: Sequence[str]) -> None:
        super().__init__(f"deadlock: {' -> '.join(path)}")
        self.path = tuple(path)


class StartFailed(ActorError):
    """An actor could not be started; `__cause__` is what its factory or `started` raised."""

    def __init__(self, path: str, cause: BaseException) -> None:
        super().__init__(f"{path} could not start: {type(cause).__name__}: {cause}")
        self.path = path


class AlreadyStarted(ActorError):
    """The key is taken: stop that child first, or use `ensure` to share it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is already started")
        self.path = path


class RestartsExhausted(ActorError):
    """More restarts than the supervisor's intensity allows; `__cause__` is the last crash."""

    def __init__(self, path: str, child: str, restarts: int, seconds: float) -> None:
        super().__init__(f"{path} gave up on {child}: over {restarts} restarts in {seconds:g} s")
        self.path = path
        self.child = child


class Killed(ActorError):
    """The actor did not stop within its shutdown time (seconds), so it was cancelled."""

    def __init__(self, path: str, shutdown: float) -> None:
        super().__init__(f"{path} did not stop within {shutdown:g} s and was cancelled")
        self.path = path


def root_cause(error: BaseException) -> BaseException:
    """Take the single exception out of the groups that nurseries wrap around it.

    A group with several exceptions stays a group: none of them may be lost.
    """
    only: BaseException = error
    while isinstance(only, BaseExceptionGroup):
        inner = cast("tuple[BaseException, ...]", only.exceptions)
        if len(inner) != 1:
            return error
        only = error = inner[0]
    return error


def split_crash(error: BaseException) -> tuple[Exception | None, BaseException | None]:
    """Tell what is a crash from what must pass through: cancellation, KeyboardInterrupt."""
    crash: BaseException | None = error
    passing: BaseException | None = None
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        crash, passing = group.split(Exception)
    elif not isinstance(error, Exception):
        crash, passing = None, error
    return (
        cast("Exception", root_cause(crash)) if crash is not None else None,
        root_cause(passing) if passing is not None else None,
    )
