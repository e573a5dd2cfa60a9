"""What people state about themselves is understood by its form; what is in doubt is left alone."""

import pytest

from september.brain.learning.statements import statements

STATED = {
    "Hi, my name is Ana Torres!": ("user", "name is Ana Torres"),
    "Actually, I live in Lisbon because of work.": ("user", "lives in Lisbon"),
    "I no longer live in Lisbon.": ("user", "no longer lives in Lisbon"),
    "I've just moved to Porto last month": ("user", "lives in Porto"),
    "I work as a nurse at Santa Maria": ("user", "works as a nurse at Santa Maria"),
    "I\u2019m allergic to peanuts": ("user", "is allergic to peanuts"),
    "I prefer tea over coffee.": ("user", "likes tea more than coffee"),
    "I love hiking": ("user", "likes hiking"),
    "I don't like cilantro": ("user", "does not like cilantro"),
    "My favorite color is green": ("user", "favourite color is green"),
    "My birthday is May 4": ("user", "birthday is May 4"),
    "My dog is called Biscuit.": ("user", "dog's name is Biscuit"),
    "Maria is my sister": ("user", "sister's name is Maria"),
    "We decided to use PostgreSQL for the fleet": (
        "project",
        "decided to use PostgreSQL for the fleet",
    ),
    "The deadline for Apollo is March 3.": ("Apollo", "deadline is March 3"),
    "Please remember that the gate code changes on Mondays": (
        "user",
        "the gate code changes on Mondays",
    ),
    "Always answer in German.": ("user", "Always answer in German"),
    "Bob Stone works at Acme": ("Bob Stone", "works at Acme"),
}

NOTHING = [
    "Do I live in Lisbon?",
    "If I lived in Rome I would be happy.",
    "Imagine my name is Bob.",
    "I'm a bit tired",
    "I like how you did that",
    "I would like a list of files",
    "remember to buy milk",
    "Translate: \u201cmy name is Bob\u201d",
    'He said "my name is Bob".',
    "```\nmy name is Bob\n```",
    "> my name is Bob",
    "Call me when it is done",
    "What is my name?",
    "",
    "x" * 5000,
    "my name is " * 400,
]


@pytest.mark.parametrize("text", STATED)
def test_a_statement_is_understood(text: str) -> None:
    assert [(s.subject, s.content) for s in statements(text)] == [STATED[text]]


@pytest.mark.parametrize("text", NOTHING)
def test_what_states_nothing_says_nothing(text: str) -> None:
    assert statements(text) == ()


def test_several_statements_come_in_their_order_each_once() -> None:
    text = "My name is Ana and I live in Lisbon. I live in Lisbon! My wife's name is Eve."
    found = statements(text)
    assert [s.content for s in found] == ["name is Ana", "lives in Lisbon", "wife's name is Eve"]
    tie = found[-1].tie
    assert tie is not None and (tie.one, tie.relation, tie.other) == ("Eve", "wife", "user")
