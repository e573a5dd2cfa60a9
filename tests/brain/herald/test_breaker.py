"""The circuit breaker, as a table and under a machine that tries to confuse it."""

from itertools import product

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from september.brain.herald.breaker import MOVES, Breaker, BreakerPolicy, BreakerState, Signal

POLICY = BreakerPolicy(threshold=3, cool_s=10.0)


def opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(POLICY)
    for ticket in "abc":
        assert breaker.admit(ticket, at) is None
        breaker.failed(ticket, at)
    return breaker


def test_the_table_leaves_out_only_moves_that_cannot_happen() -> None:
    missing = set(product(BreakerState, Signal)) - MOVES.keys()
    assert missing == {
        (BreakerState.CLOSED, Signal.COOLED),
        (BreakerState.OPEN, Signal.TRIPPED),
        (BreakerState.HALF_OPEN, Signal.TRIPPED),
        (BreakerState.HALF_OPEN, Signal.COOLED),
    }


def test_failures_in_a_row_open_it_and_it_says_for_how_long() -> None:
    breaker = opened(at=100.0)
    assert breaker.state is BreakerState.OPEN
    assert breaker.admit("d", 104.0) == 6.0


def test_a_success_in_between_starts_the_count_again() -> None:
    breaker = Breaker(POLICY)
    for _ in range(5):
        breaker.failed("a", 0.0)
        breaker.failed("b", 0.0)
        breaker.succeeded("c")
    assert breaker.state is BreakerState.CLOSED


def test_after_cooling_one_probe_goes_through_and_the_others_wait() -> None:
    breaker = opened()
    assert breaker.admit("probe", 10.0) is None
    assert breaker.state is BreakerState.HALF_OPEN
    assert breaker.admit("other", 10.0) is not None
    assert breaker.admit("probe", 10.0) is None, "asking twice is asking once"


def test_the_probe_decides() -> None:
    breaker = opened()
    breaker.admit("probe", 10.0)
    breaker.failed("probe", 11.0)
    assert breaker.admit("x", 11.0) == 10.0, "open again, from now"
    breaker.admit("probe 2", 21.0)
    breaker.succeeded("probe 2")
    assert breaker.state is BreakerState.CLOSED
    breaker.failed("y", 22.0)
    assert breaker.state is BreakerState.CLOSED, "the old failures are forgotten"


def test_a_call_from_before_it_opened_says_nothing_while_the_probe_is_out() -> None:
    breaker = opened()
    breaker.admit("probe", 10.0)
    breaker.failed("old", 10.0)
    breaker.succeeded("older")
    assert breaker.state is BreakerState.HALF_OPEN


def test_an_abandoned_probe_makes_room_for_another() -> None:
    breaker = opened()
    breaker.admit("probe", 10.0)
    breaker.abandoned("probe")
    assert breaker.admit("next", 10.0) is None


class BreakerMachine(RuleBasedStateMachine):
    """Calls begin, end and are given up in any order, while time passes."""

    calls = Bundle("calls")

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(POLICY)
        self.now = 0.0
        self.number = 0
        self.in_a_row = 0
        self.probes: set[str] = set()

    @rule(seconds=st.sampled_from([0.0, 1.0, 9.0, 10.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(target=calls)
    def begin(self) -> "str | MultipleResults[str]":
        self.number += 1
        ticket = str(self.number)
        wait_s = self.breaker.admit(ticket, self.now)
        if wait_s is not None:
            assert self.breaker.state is not BreakerState.CLOSED
            assert 0 < wait_s <= POLICY.cool_s
            return multiple()
        assert self.breaker.state is not BreakerState.OPEN
        if self.breaker.state is BreakerState.HALF_OPEN:
            self.probes.add(ticket)
        return ticket

    @rule(ticket=consumes(calls))
    def succeed(self, ticket: str) -> None:
        before = self.breaker.state
        self.breaker.succeeded(ticket)
        if before is BreakerState.HALF_OPEN and ticket in self.probes:
            assert self.breaker.state is BreakerState.CLOSED
        if before is BreakerState.CLOSED:
            self.in_a_row = 0
        self.end(ticket)

    @rule(ticket=consumes(calls))
    def fail(self, ticket: str) -> None:
        before = self.breaker.state
        self.breaker.failed(ticket, self.now)
        if before is BreakerState.CLOSED:
            self.in_a_row += 1
            tripped = self.in_a_row >= POLICY.threshold
            assert (self.breaker.state is BreakerState.OPEN) == tripped
        elif ticket in self.probes:
            assert self.breaker.state is BreakerState.OPEN
        self.end(ticket)

    @rule(ticket=consumes(calls))
    def abandon(self, ticket: str) -> None:
        before = self.breaker.state
        self.breaker.abandoned(ticket)
        assert self.breaker.state is before
        self.end(ticket)

    def end(self, ticket: str) -> None:
        self.probes.discard(ticket)
        if self.breaker.state is not BreakerState.HALF_OPEN:
            self.probes.clear()
        if self.breaker.state is not BreakerState.CLOSED:
            self.in_a_row = 0

    @invariant()
    def at_most_one_probe_is_out(self) -> None:
        assert len(self.probes) <= 1


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
