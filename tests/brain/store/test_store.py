"""The store as an actor: order, concurrency, cancellation, and what is left when it stops."""

import threading
from collections.abc import Callable
from functools import partial
from random import Random

import apsw
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from september.actors.testing import running
from september.brain.store.brain_file import BrainFile
from september.brain.store.connection import Connection, connect
from september.brain.store.database import Database
from september.brain.store.store import Read, Store, Write

from .conftest import Put

Keys = Callable[[Connection], list[str]]
OnDisk = Callable[[], list[str]]


class Gate:
    """A work that blocks its database thread until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, db: Connection) -> None:
        self.entered.set()
        assert self._open.wait(10)

    def open(self) -> None:
        self._open.set()

    async def wait_entered(self) -> None:
        assert await trio.to_thread.run_sync(self.entered.wait, 10)


async def test_a_write_is_answered_with_what_its_work_returned_after_its_commit(
    database: Database, put: Put, on_disk: OnDisk
) -> None:
    def work(db: Connection) -> int:
        put("a")(db)
        return 7

    assert await database.write(work) == 7
    assert on_disk() == ["a"]


async def test_what_a_work_raises_is_raised_to_its_caller_and_the_store_goes_on(
    database: Database, put: Put, keys: Keys
) -> None:
    await database.write(put("a"))
    with pytest.raises(apsw.ConstraintError):
        await database.write(put("a"))
    with pytest.raises(apsw.SQLError, match="no such table"):
        await database.read(lambda db: db.execute("SELECT 1 FROM nowhere").fetchall())
    assert await database.read(keys) == ["a"]


async def test_writes_that_arrive_during_a_transaction_share_the_next_one(
    database: Database, put: Put, on_disk: OnDisk
) -> None:
    gate, last = Gate(), Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, gate)
        await gate.wait_entered()
        for key in "abcde":
            nursery.start_soon(database.write, put(key))
            await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(database.write, last)
        await trio.testing.wait_all_tasks_blocked()
        gate.open()
        await last.wait_entered()
        assert on_disk() == []  # five are written, none is committed: it is one transaction
        last.open()
    assert on_disk() == ["a", "b", "c", "d", "e"]


async def test_writes_are_committed_in_the_order_they_came(database: Database) -> None:
    order: list[int] = []
    gate = Gate()

    def note(number: int) -> Callable[[Connection], None]:
        return lambda _: order.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, gate)
        await gate.wait_entered()
        for number in range(50):
            nursery.start_soon(database.write, note(number))
            await trio.testing.wait_all_tasks_blocked()
        gate.open()
    assert order == list(range(50))


async def test_a_write_cancelled_before_its_transaction_never_runs(
    database: Database, put: Put, on_disk: OnDisk
) -> None:
    gate = Gate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, gate)
        await gate.wait_entered()
        with trio.move_on_after(0.01):
            await database.write(put("cancelled"))
        gate.open()
    await database.write(put("later"))
    assert on_disk() == ["later"]


async def test_a_write_cancelled_during_its_transaction_harms_nobody_in_its_group(
    database: Database, put: Put, on_disk: OnDisk
) -> None:
    first, mine = Gate(), Gate()
    scope = trio.CancelScope()

    async def cancelled() -> None:
        with scope:
            await database.write(mine)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, first)
        await first.wait_entered()
        nursery.start_soon(database.write, put("before"))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(cancelled)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(database.write, put("after"))
        await trio.testing.wait_all_tasks_blocked()
        first.open()
        await mine.wait_entered()
        scope.cancel()
        await trio.testing.wait_all_tasks_blocked()
        mine.open()
    assert on_disk() == ["after", "before"]


async def test_readers_go_on_while_the_writer_writes(
    database: Database, put: Put, keys: Keys
) -> None:
    gate = Gate()

    def slow(db: Connection) -> None:
        put("new")(db)
        gate(db)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(database.write, slow)
        await gate.wait_entered()
        assert await database.read(keys) == []
        gate.open()
    assert await database.read(keys) == ["new"]


async def test_more_reads_than_readers_all_get_their_turn(database: Database, keys: Keys) -> None:
    gates = [Gate() for _ in range(3)]
    answered: list[object] = []

    async def ask() -> None:
        answered.append(await database.read(keys))

    async with trio.open_nursery() as nursery:
        for gate in gates:
            nursery.start_soon(database.read, gate)
            await gate.wait_entered()
        for _ in range(5):
            nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        assert answered == []
        for gate in gates:
            gate.open()
    assert answered == [[]] * 5


async def test_a_reader_cannot_write(database: Database, put: Put, keys: Keys) -> None:
    with pytest.raises(apsw.ReadOnlyError):
        await database.read(put("a"))
    assert await database.read(keys) == []


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


async def test_an_endless_read_ends_when_its_caller_gives_up_and_its_reader_serves_on(
    brain: BrainFile, keys: Keys
) -> None:
    async with running(Store(brain, readers=1)) as store:
        database = Database(store)
        for _ in range(3):
            with trio.move_on_after(0.02) as scope:
                await database.read(lambda db: db.execute(ENDLESS).fetchall())
            assert scope.cancelled_caught
            with trio.fail_after(1):
                assert await database.read(keys) == []


async def test_a_store_that_stops_interrupts_an_endless_write_and_rolls_it_back(
    brain: BrainFile, put: Put, on_disk: OnDisk
) -> None:
    entered = threading.Event()

    def endless(db: Connection) -> None:
        put("half")(db)
        entered.set()
        db.execute(ENDLESS).fetchall()

    async with trio.open_nursery() as nursery:
        with trio.fail_after(5):
            async with running(Store(brain)) as store:
                nursery.start_soon(partial(Database(store).write, endless))
                assert await trio.to_thread.run_sync(entered.wait, 5)
                nursery.cancel_scope.cancel()
    assert on_disk() == []


async def test_the_log_is_tidied_away_when_the_store_stops(brain: BrainFile, put: Put) -> None:
    async with running(Store(brain)) as store:
        await Database(store).write(put("a"))
        assert brain.path.with_name("brain.sqlite-wal").exists()
    left = {path.name for path in brain.path.parent.iterdir()}
    assert left == {"brain.sqlite", "brain.sqlite.lock"}


async def test_what_was_written_is_there_in_the_next_life(
    brain: BrainFile, put: Put, keys: Keys
) -> None:
    async with running(Store(brain)) as store:
        await Database(store).write(put("a"))
    async with running(Store(brain)) as store:
        assert await Database(store).read(keys) == ["a"]


async def test_each_connection_is_set_up_as_promised(database: Database) -> None:
    def pragmas(db: Connection) -> dict[str, object]:
        names = ["journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only"]
        rows = {name: db.execute(f"PRAGMA {name}").fetchone() for name in names}
        return {name: row[0] for name, row in rows.items() if row}

    writer = await database.write(pragmas)
    assert writer == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 5000,
        "query_only": 0,
    }
    assert await database.read(pragmas) == {**writer, "query_only": 1}


async def test_vectors_and_full_text_search_are_there(database: Database) -> None:
    def search(db: Connection) -> list[object]:
        row = db.execute("SELECT vec_distance_cosine('[1, 0]', '[0, 1]')").fetchone()
        hits = db.execute("SELECT count(*) FROM episodes_fts WHERE episodes_fts MATCH 'runs'")
        return [*(row or ()), *(hits.fetchone() or ())]

    def learn(db: Connection) -> None:
        db.execute(
            "INSERT INTO episodes (id, key, description, value, source, occurred_at, created_at)"
            " VALUES ('e', 'k', 'a dog running', 'v', 's', 1, 1)"
        )

    await database.write(learn)
    assert await database.read(search) == [1.0, 1]


async def test_a_double_quoted_text_is_an_error_instead_of_a_column_that_is_not_there(
    database: Database,
) -> None:
    with pytest.raises(apsw.SQLError, match="no such column"):
        await database.read(lambda db: db.execute('SELECT "no such"').fetchall())


def test_a_trace_of_a_message_shows_the_work_and_nothing_it_carries() -> None:
    def insert(db: Connection, secret: str) -> None:
        raise NotImplementedError

    shown = repr(Write(partial(insert, secret="hunter2"))) + repr(Read(lambda _: "hunter2"))
    assert "insert" in shown and "hunter2" not in shown and "0x" not in shown


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32))
async def test_no_interleaving_of_writes_and_cancellations_leaves_half_a_transaction(
    tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    random = Random(seed)
    brain = BrainFile(tmp_path_factory.mktemp("brain") / "brain.sqlite")
    answered: list[str] = []

    def pair(key: str, fails: bool) -> Callable[[Connection], str]:
        def work(db: Connection) -> str:
            db.execute("INSERT INTO brain_meta VALUES (?, 'left')", (f"{key} left",))
            if fails:
                raise LookupError(key)
            db.execute("INSERT INTO brain_meta VALUES (?, 'right')", (f"{key} right",))
            return key

        return work

    async def write(database: Database, key: str) -> None:
        fails = random.random() < 0.2
        with trio.move_on_after(random.choice([0.0, 0.0005, 0.002, 5.0])):
            try:
                answered.append(await database.write(pair(key, fails)))
            except LookupError:
                assert fails

    async with running(Store(brain)) as store:
        database = Database(store)
        async with trio.open_nursery() as nursery:
            for number in range(40):
                nursery.start_soon(write, database, str(number))
                if random.random() < 0.3:
                    await trio.sleep(random.random() * 0.001)
        with trio.fail_after(5):  # a transaction left open would block this for ever
            await database.write(pair("last", False))
    db = connect(brain.path)
    rows = [str(row[0]).split() for row in db.execute("SELECT key FROM brain_meta")]
    db.close()
    halves = {side: {key for key, half in rows if half == side} for side in ("left", "right")}
    assert halves["left"] == halves["right"] >= {*answered, "last"}
    assert [t.name for t in threading.enumerate() if "apsw" in t.name] == []
