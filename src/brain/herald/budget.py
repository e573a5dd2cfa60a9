"""Output budget of one turn: may the loop go on after a model message that ran into MAX_TOKENS?"""

from .conversation import StopReason


class TurnBudget:
    """Output tokens one turn may spend over all its model calls, sub-agents included.

    With TOKEN_BUDGET_ENABLED a message cut off at MAX_TOKENS is continued by another call as long
    as the budget lasts (contract, section 6); without it the cut message ends the turn.
    """

    def __init__(self, output_tokens: int, *, enabled: bool) -> None:
        self._output_tokens = output_tokens
        self._enabled = enabled
        self._spent = 0

    @property
    def left(self) -> int:
        """Output tokens not yet spent; never negative."""
        return max(0, self._output_tokens - self._spent)

    def spend(self, output_tokens: int) -> None:
        """Count the output of one finished call."""
        self._spent += output_tokens

    def may_continue(self, stop_reason: StopReason) -> bool:
        """Whether a message that stopped for `stop_reason` is to be continued by another call."""
        return self._enabled and stop_reason == "max_tokens" and self.left > 0
