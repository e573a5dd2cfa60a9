"""Group commit: works share a transaction, and none of them can tell."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import apsw
import pytest
from outcome import Error, Outcome, Value

from september.brain.store.brain_file import BrainFile
from september.brain.store.connection import Connection, Cursor, Handle, connect
from september.brain.store.session import Role, configure
from september.brain.store.transactions import Transactions
from september.errors import SeptemberError

Work = Callable[[Connection], object]


@pytest.fixture
def db(brain: BrainFile) -> Iterator[Handle]:
    db = connect(brain.path)
    configure(db, Role.WRITER)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(
        "CREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE,"
        " parent INTEGER REFERENCES note DEFERRABLE INITIALLY DEFERRED) STRICT"
    )
    brain.remember()
    yield db
    db.close()


@pytest.fixture
def transactions(db: Handle, brain: BrainFile) -> Transactions:
    return Transactions(db, brain)


def add(text: str, parent: int | None = None) -> Work:
    def work(db: Connection) -> str:
        db.execute("INSERT INTO note (text, parent) VALUES (?, ?)", (text, parent))
        return text

    return work


def add_then(text: str, sql: str) -> Work:
    def work(db: Connection) -> None:
        add(text)(db)
        db.execute(sql)

    return work


def texts(db: Connection) -> list[str]:
    return [text for (text,) in db.execute("SELECT text FROM note ORDER BY id")]


def error_of(outcome: Outcome[object]) -> BaseException:
    assert isinstance(outcome, Error)
    return outcome.error


def test_all_works_of_a_group_are_in_one_transaction(
    db: Handle, transactions: Transactions, brain: BrainFile
) -> None:
    other = connect(brain.path)
    seen: list[list[str]] = []

    def look(_: Connection) -> None:
        seen.append(texts(other))

    transactions.write([add("a"), look, add("b"), look])
    assert seen == [[], []]
    assert texts(other) == ["a", "b"]
    other.close()


def test_a_work_that_fails_is_rolled_back_alone_and_keeps_its_exception(
    db: Handle, transactions: Transactions
) -> None:
    class Refused(Exception):
        pass

    def refuse(db: Connection) -> None:
        add("half")(db)
        raise Refused

    first, second, third = transactions.write([add("a"), refuse, add("b")])
    assert (first, third) == (Value("a"), Value("b"))
    assert isinstance(error_of(second), Refused)
    assert texts(db) == ["a", "b"]


def test_a_work_alone_that_fails_leaves_no_transaction_open(
    db: Handle, transactions: Transactions
) -> None:
    [result] = transactions.write([add_then("half", "INSERT INTO note (text) VALUES (NULL)")])
    assert isinstance(error_of(result), apsw.ConstraintError)
    assert texts(db) == [] and not db.in_transaction


def test_a_conflict_at_the_commit_fails_only_the_work_that_caused_it(
    db: Handle, transactions: Transactions
) -> None:
    results = transactions.write([add("a"), add("orphan", parent=99), add("b")])
    assert isinstance(error_of(results[1]), apsw.ConstraintError)
    assert [results[0], results[2]] == [Value("a"), Value("b")]
    assert texts(db) == ["a", "b"]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT OR ROLLBACK INTO note (text) VALUES ('a')",  # SQLite ends the transaction
        "ROLLBACK",
        "COMMIT",
        "RELEASE work",
        "COMMIT; BEGIN",
        "ROLLBACK; INSERT INTO note (text) VALUES ('outside')",
    ],
)
def test_a_work_that_ends_the_transaction_fails_alone(
    db: Handle, transactions: Transactions, sql: str
) -> None:
    results = transactions.write([add("a"), add_then("rogue", sql), add("b")])
    assert error_of(results[1])
    assert [results[0], results[2]] == [Value("a"), Value("b")]
    assert texts(db) == ["a", "b"] and not db.in_transaction


def test_a_work_that_commits_is_told_why_it_must_not(transactions: Transactions) -> None:
    [result] = transactions.write([add_then("rogue", "COMMIT")])
    assert "the store commits it" in str(error_of(result))


def test_a_work_that_does_not_fit_fails_alone_with_the_space_that_is_left(
    db: Handle, transactions: Transactions, brain: BrainFile
) -> None:
    pages = db.execute("PRAGMA page_count").fetchone()
    assert pages is not None
    db.execute(f"PRAGMA max_page_count = {pages[0] + 4}")
    results = transactions.write([add("a"), add("x" * 100_000), add("b")])
    error = error_of(results[1])
    assert isinstance(error, SeptemberError) and error.code == "BRAIN_FULL"
    assert str(brain.path) in error.message and "Make room" in error.message
    assert error.details["free_bytes"]
    assert texts(db) == ["a", "b"] and not db.in_transaction


def test_a_lock_held_by_another_program_refuses_all_and_breaks_nothing(
    db: Handle, transactions: Transactions, brain: BrainFile
) -> None:
    db.set_busy_timeout(20)
    other = connect(brain.path)
    other.execute("BEGIN IMMEDIATE")
    for result in transactions.write([add("a"), add("b")]):
        error = error_of(result)
        assert isinstance(error, SeptemberError) and error.code == "BRAIN_BUSY"
    other.execute("ROLLBACK")
    other.close()
    assert transactions.write([add("a")]) == [Value("a")]


def test_a_cursor_left_half_read_keeps_nothing_open(db: Handle, transactions: Transactions) -> None:
    kept: list[object] = []

    def peek(db: Connection) -> object:
        cursor = db.execute("INSERT INTO note (text) VALUES ('p'), ('q') RETURNING text")
        kept.append(cursor)
        return cursor.fetchone()

    results = transactions.write([add("a"), peek, add("b")])
    assert [results[0], results[2]] == [Value("a"), Value("b")]
    assert texts(db) == ["a", "p", "q", "b"] and not db.in_transaction


def test_a_cursor_taken_out_of_its_work_is_closed(transactions: Transactions) -> None:
    [result] = transactions.write([lambda db: db.execute("SELECT 1 UNION SELECT 2")])
    assert isinstance(result, Value)
    with pytest.raises(apsw.CursorClosedError):
        list(cast("Cursor", result.value))


def test_reads_see_one_snapshot(db: Handle, transactions: Transactions, brain: BrainFile) -> None:
    other = connect(brain.path)

    def twice(db: Connection) -> tuple[int, int]:
        before = len(texts(db))
        other.execute("INSERT INTO note (text) VALUES ('meanwhile')")
        return before, len(texts(db))

    assert transactions.read(twice) == Value((0, 0))
    other.close()
    assert texts(db) == ["meanwhile"]


def test_nothing_is_written_to_a_brain_that_was_moved_away(
    transactions: Transactions, brain: BrainFile, tmp_path: Path
) -> None:
    brain.path.rename(tmp_path / "elsewhere.sqlite")
    with pytest.raises(SeptemberError, match="removed or replaced") as refused:
        transactions.write([add("lost")])
    assert refused.value.code == "BRAIN_UNUSABLE"
