"""The work of a pass, from what waits to what is known. It may be cut anywhere and taken up again.

Each write is one transaction, and the drafts are kept before the first of them is applied: so a
pass that is taken up writes the same rows as one that was never cut.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import trio
from msgspec.structs import replace

from ...actors import ActorError, current_span, work_span
from ...errors import SeptemberError
from ...logs import get_logger
from ..clock import new_id, now_ms
from ..memory.memory import Memory
from ..store.database import Database
from . import material, passes
from .draft import Draft, of_signal, scrubbed
from .extraction import BY_RULES, Extractor
from .material import Turn, Waiting
from .passes import Pass, Recall, Sample, Step
from .sampling import found, samples

_log = get_logger("september.learning")

VECTORS_S: Final = 20.0
"""How long the gate waits for vectors: without them it judges by words alone."""


class Study:
    """Runs passes, one at a time."""

    def __init__(
        self,
        database: Database,
        memory: Memory,
        extractor: Extractor,
        scrub: Callable[[str], str],
        now: Callable[[], int] = now_ms,
    ) -> None:
        self._database = database
        self._memory = memory
        self._extractor = extractor
        self._scrub = scrub
        self._now = now
        self._one = trio.Lock()

    async def waiting(self, idle_s: float, interval_s: float) -> tuple[Waiting, ...]:
        """Every task with something to learn from."""
        read = partial(
            material.waiting, idle_ms=int(idle_s * 1000), interval_ms=int(interval_s * 1000)
        )
        return await self._database.read(read)

    async def unfinished(self) -> tuple[str, ...]:
        """Tasks whose pass was cut."""
        return await self._database.read(passes.running)

    async def learn(self, task_id: str) -> tuple[Pass, ...]:
        """Pass after pass, until nothing of the task waits or one fails."""
        done: list[Pass] = []
        async with self._one:
            while (ended := await self._one_pass(task_id)) is not None:
                done.append(ended)
                if ended.status == "failed":
                    break
        return tuple(done)

    async def undo(self, pass_id: str) -> Pass:
        """Take a pass back. Raises NOT_FOUND, TASK_BUSY."""
        async with self._one:
            undone = partial(passes.undo, pass_id=pass_id, now=self._now())
            return await self._memory.write(undone)

    async def _one_pass(self, task_id: str) -> Pass | None:
        with work_span("learn", task_id) as span:
            begin = partial(
                passes.begin,
                task_id=task_id,
                pass_id=new_id("pass"),
                trace_id=_trace_id(),
                now=self._now(),
            )
            begun = await self._database.write(begin)
            if begun is None:
                span.outcome = "nothing to learn"
                return None
            ended = await self._to_its_end(begun)
            span.outcome, span.detail = ended.status, ended.report.reason or ""
            return ended

    async def _to_its_end(self, begun: Pass) -> Pass:
        try:
            await self._draw(begun)
            await self._judge_before(begun.pass_id)
            await self._apply(begun.pass_id)
            return await self._judge_after(begun.pass_id)
        except (SeptemberError, ActorError) as error:
            _log.warning("a pass failed", pass_id=begun.pass_id, reason=str(error))
            failed = partial(
                passes.fail, pass_id=begun.pass_id, reason=str(error)[:500], now=self._now()
            )
            return await self._memory.write(failed)

    async def _draw(self, begun: Pass) -> None:
        """Draw what was not drawn yet, and keep it."""
        steps = await self._steps(begun.pass_id)
        missing = [step for step in steps if step.draft is None]
        if not missing:
            return
        turns: dict[int, Turn] = {}
        drafts: dict[int, Draft] = {}
        for step in missing:
            drafts[step.number] = await self._by_rules(step, turns)
        extracted = await self._extractor.extract(tuple(turns.values()))
        drafts |= dict(zip(turns, extracted.drafts, strict=True))
        keep = partial(
            passes.keep_drafts,
            pass_id=begun.pass_id,
            drafts={number: scrubbed(draft, self._scrub) for number, draft in drafts.items()},
            extractor=extracted.extractor if turns else BY_RULES,
        )
        await self._database.write(keep)

    async def _by_rules(self, step: Step, turns: dict[int, Turn]) -> Draft:
        """A signal's draft; a turn is noted for the extractor. What is gone teaches nothing."""
        if step.kind == "signal":
            signal = await self._database.read(partial(material.signal, signal_id=int(step.item)))
            return of_signal(signal) if signal is not None else Draft()
        turn = await self._database.read(partial(material.turn, trajectory_id=step.item))
        if turn is not None:
            turns[step.number] = turn
        return Draft()

    async def _judge_before(self, pass_id: str) -> None:
        held = await self._database.read(partial(passes.shown, pass_id=pass_id))
        if held.report.samples is not None:
            return
        await self._seen()
        asked = await self._database.read(partial(samples, pass_id=pass_id))
        before = await self._found(pass_id, asked)
        report = replace(held.report, samples=asked, found_before=before)
        await self._database.write(partial(passes.keep_report, pass_id=pass_id, report=report))

    async def _found(self, pass_id: str, asked: Sequence[Sample]) -> int:
        sources = {step.source for step in await self._steps(pass_id)}
        return await found(self._database, self._memory, asked, sources)

    async def _seen(self) -> None:
        """Wait for vectors, within reason."""
        with suppress(ActorError):
            await self._memory.settled(VECTORS_S)

    async def _apply(self, pass_id: str) -> None:
        for step in await self._steps(pass_id):
            if not step.applied:
                apply = partial(passes.apply, pass_id=pass_id, step=step, now=self._now())
                await self._memory.write(apply)

    async def _judge_after(self, pass_id: str) -> Pass:
        await self._seen()
        report = (await self._database.read(partial(passes.shown, pass_id=pass_id))).report
        asked = report.samples or ()
        after = await self._found(pass_id, asked)
        recall = Recall(len(asked), report.found_before, after)
        end = partial(passes.end, pass_id=pass_id, recall=recall, now=self._now())
        return await self._memory.write(end)

    async def _steps(self, pass_id: str) -> tuple[Step, ...]:
        return await self._database.read(partial(passes.steps, pass_id=pass_id))


def _trace_id() -> str:
    span = current_span()
    return f"{span.trace_id:032x}" if span is not None else ""
