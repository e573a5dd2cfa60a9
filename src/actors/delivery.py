"""Delivery: how a message gets to an actor, and its answer back to the task that asked."""

from math import inf

import trio

from .cell import CrashSignal, Envelope, Handler, crashed, remembers
from .deadlock import find_circle
from .errors import ActorStopped, CallTimeout, DeadlockDetected
from .message import Later, Reply
from .span import CURRENT, Scope, waits_of
from .state import State
from .trace import Kind

_INLINE_BEFORE_CHECKPOINT = 32
"""Inline calls between two real checkpoints, so that a busy caller starves nobody."""


async def ask(envelope: Envelope, sender: Scope | None) -> object:
    """Have the message handled; return the answer."""
    cell = envelope.cell
    if cell.ready_inline:
        await _breathe(envelope)
        if cell.ready_inline and cell.inline is not None:
            answer = _handle_here(envelope, cell.inline, sender)
            return answer.value if type(answer) is Reply else await _park(envelope, sender)
    _refuse_hopeless(envelope, sender)
    cell.accept_call(envelope)
    return await _park(envelope, sender)


async def send(envelope: Envelope, sender: Scope | None) -> None:
    """Put the message into the mailbox, waiting for room."""
    _refuse_hopeless(envelope, sender)
    envelope.sends = True
    envelope.cell.accept_call(envelope)
    if envelope.sends:
        await _park(envelope, sender)
    else:
        await trio.lowlevel.checkpoint_if_cancelled()


def _handle_here(envelope: Envelope, handler: Handler, sender: Scope | None) -> object:
    """Run the handler in this task: it is proven never to suspend, and its actor is idle."""
    cell = envelope.cell
    if envelope.deadline != inf and trio.current_time() >= envelope.deadline:
        envelope.close("withdrawn")
        raise _missed(envelope, 0.0)
    cell.current = envelope
    token = CURRENT.set(envelope)
    try:
        handler(envelope.message).send(None)
    except StopIteration as done:
        answer = done.value
    except Exception as error:
        _crash_from_here(envelope, error)
        raise crashed(cell.path, error) from error
    else:
        raise RuntimeError(f"{cell.path}: a handler proven never to suspend did")
    finally:
        CURRENT.reset(token)
        cell.current = None
    cell.handled += 1
    return _take_answer(envelope, answer, sender)


def _take_answer(envelope: Envelope, answer: object, sender: Scope | None) -> Reply | Later:
    cell = envelope.cell
    if type(answer) is Reply:
        trace = cell.runtime.trace
        if trace is not None:  # `close`, without the call
            if cell.replayable or (sender is not None and remembers(sender)):
                envelope.answered = answer.value
            envelope.incarnation = cell.incarnation
            trace.handled(envelope, "ok")
        return answer
    if type(answer) is Later:
        cell.begin_work(envelope, answer)
        return answer
    error = TypeError(f"{cell.path}: handle returned {answer!r}, not a Reply or Later")
    _crash_from_here(envelope, error)
    raise crashed(cell.path, error) from error


def _crash_from_here(envelope: Envelope, error: Exception) -> None:
    cell = envelope.cell
    cell.inline = None
    cell.signal(CrashSignal(envelope, error))


async def _breathe(envelope: Envelope) -> None:
    runtime = envelope.cell.runtime
    runtime.inline_calls += 1
    if runtime.inline_calls % _INLINE_BEFORE_CHECKPOINT:
        await trio.lowlevel.checkpoint_if_cancelled()
        return
    await trio.lowlevel.checkpoint()
    if runtime.trace is not None:  # only then is its beginning later than its sending
        envelope.began_at = runtime.trace.clock()


async def _park(envelope: Envelope, sender: Scope | None) -> object:
    """Wait for the answer; cancellation and the deadline withdraw the request."""
    envelope.await_answer(trio.lowlevel.current_task(), sender)
    waits = waits_of(sender)
    waits.append(envelope)
    try:
        await _wait_answered(envelope)
    finally:
        waits.remove(envelope)
    return _unpack(envelope)


def _unpack(envelope: Envelope) -> object:
    error, value = envelope.error, envelope.value
    envelope.error = envelope.value = None  # the trace keeps the envelope, not what it carried
    if error is None:
        return value
    try:
        raise error
    finally:
        del error  # else its traceback would hold it in a circle with this frame


async def _wait_answered(envelope: Envelope) -> None:
    def withdraw(_: object) -> trio.lowlevel.Abort:
        _withdraw(envelope)
        return trio.lowlevel.Abort.SUCCEEDED

    if envelope.deadline == inf:
        await trio.lowlevel.wait_task_rescheduled(withdraw)
        return
    began = trio.current_time()
    with trio.CancelScope(deadline=envelope.deadline) as scope:
        await trio.lowlevel.wait_task_rescheduled(withdraw)
    if scope.cancelled_caught:
        raise _missed(envelope, trio.current_time() - began)


def _withdraw(envelope: Envelope) -> None:
    envelope.caller = None
    if envelope.cell.mailbox.remove(envelope):
        envelope.close("withdrawn")
    elif envelope.work is not None:
        envelope.work.cancel()


def _missed(envelope: Envelope, waited: float) -> CallTimeout:
    envelope.cell.observe(Kind.DEADLINE, envelope)
    return CallTimeout(envelope.cell.path, type(envelope.message).__name__, waited)


def _refuse_hopeless(envelope: Envelope, sender: Scope | None) -> None:
    """Raise at once for a recipient that is gone, or one that waits for the sender."""
    cell = envelope.cell
    if cell.state is State.STOPPED:
        envelope.close("stopped")
        raise ActorStopped(cell.path)
    circle = find_circle(sender.holder or sender, envelope) if sender is not None else None
    if circle is not None:
        error = DeadlockDetected(circle)
        cell.observe(Kind.DEADLOCK, envelope, str(error))
        envelope.close("deadlock")
        raise error
