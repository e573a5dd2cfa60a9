"""The output budget of a turn."""

from september.brain.herald.budget import TurnBudget


def test_a_cut_message_is_continued_while_the_budget_lasts() -> None:
    budget = TurnBudget(100, enabled=True)
    budget.spend(60)
    assert budget.may_continue("max_tokens")
    budget.spend(60)
    assert not budget.may_continue("max_tokens")
    assert budget.left == 0


def test_without_the_flag_a_cut_message_ends_the_turn() -> None:
    assert not TurnBudget(100, enabled=False).may_continue("max_tokens")


def test_a_message_that_ended_by_itself_is_not_continued() -> None:
    assert not TurnBudget(100, enabled=True).may_continue("end_turn")
