"""Chaos: whatever the tree and the faults, no task leaks, no call hangs, order is kept."""

from collections import Counter
from functools import partial

import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from september.actors import Intensity, Kind, Strategy, Trace

from .chaos import CAPACITY, Act, Plan, Seen, Step, run_plan

UNLIMITED = Intensity(restarts=10_000, seconds=1.0)
STRICT = Intensity(restarts=1, seconds=10.0)

steps = st.builds(
    Step, st.sampled_from([*Act, Act.CRASH, Act.CRASH]), st.integers(0, 7), st.integers(0, 7)
)
plans = st.builds(
    Plan,
    groups=st.lists(
        st.tuples(
            st.sampled_from(Strategy), st.lists(st.booleans(), min_size=1, max_size=3).map(tuple)
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    senders=st.lists(
        st.lists(steps, min_size=1, max_size=12).map(tuple), min_size=1, max_size=5
    ).map(tuple),
    stop_after=st.none() | st.floats(0, 2),
)
chaotic = settings(max_examples=150, deadline=None)


def run(plan: Plan, intensity: Intensity) -> Seen:
    """Run a plan in virtual time and check what must hold in every run."""
    clock = trio.testing.MockClock(autojump_threshold=0)
    seen = trio.run(partial(run_plan, plan, intensity), clock=clock)
    assert seen.unfinished == 0, "a call hung"
    assert seen.tasks_left == 0, "a task leaked"
    assert seen.high_water <= CAPACITY, "a mailbox was not bounded"
    for handled in seen.handled.values():
        assert_in_order(handled)
    assert_caused(seen.trace)
    return seen


def assert_caused(trace: Trace) -> None:
    """Whatever was recorded has its cause recorded, too, and nothing was recorded twice."""
    spans = Counter(record.span_id for record in trace.recent())
    assert all(times == 1 for times in spans.values()), "a span was closed twice"
    orphans = [one for one in trace.recent() if one.parent_id and one.parent_id not in spans]
    assert not orphans, "a cause was never recorded"


def assert_in_order(handled: list[tuple[int, int]]) -> None:
    """Each sender's messages were handled in its order, and none twice."""
    last: dict[int, int] = {}
    for sender, number in handled:
        if sender >= 0:
            assert number > last.get(sender, -1)
            last[sender] = number


def test_random_faults_leak_nothing_hang_nothing_and_keep_order() -> None:
    heard: Counter[str] = Counter()
    traced: Counter[Kind] = Counter()

    @given(plans)
    @chaotic
    def explore(plan: Plan) -> None:
        seen = run(plan, UNLIMITED)
        heard.update(seen.heard)
        traced.update(seen.trace.counts)

    explore()
    for outcome in ("answer", "ActorCrashed", "ActorStopped", "CallTimeout"):
        assert heard[outcome] > 0, f"no run ended in {outcome}: the chaos was hollow"
    for kind in (Kind.CRASH, Kind.RESTART, Kind.STOP, Kind.DEADLINE, Kind.DEADLOCK):
        assert traced[kind] > 0, f"no {kind}: the chaos was hollow"


def test_supervisors_that_give_up_leak_nothing_and_hang_nothing() -> None:
    traced: Counter[Kind] = Counter()
    heard: Counter[str] = Counter()

    @given(plans)
    @chaotic
    def explore(plan: Plan) -> None:
        seen = run(plan, STRICT)
        heard.update(seen.heard)
        traced.update(seen.trace.counts)

    explore()
    assert traced[Kind.GAVE_UP] > 0, "no supervisor gave up: the chaos was hollow"
    assert heard["RestartsExhausted"] > 0, "no root gave up: the chaos was hollow"
