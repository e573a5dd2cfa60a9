"""The fleet's database: units of work, lost connections, migrations, on a real PostgreSQL."""

from collections.abc import Iterator

import pytest
import trio

from september.errors import SeptemberError
from september.fleet.store.database import (
    Database,
    DatabaseUnavailable,
    Session,
    UniqueViolation,
)
from september.fleet.store.embedded import Cluster, binaries
from september.fleet.store.migrate import Migration, available, migrate

from .conftest import Postgres, one, serving


async def _count(session: Session) -> object:
    return await session.value("SELECT count(*) FROM products")


async def _insert(session: Session) -> None:
    await session.execute(
        "INSERT INTO products (id, slug, display_name, api_key_hash)"
        " VALUES (gen_random_uuid(), 'a', 'A', 'h')"
    )


async def test_a_write_commits_as_a_whole_or_not_at_all(database: Database) -> None:
    async def insert_and_fail(session: Session) -> None:
        await _insert(session)
        raise ValueError

    with pytest.raises(ValueError):
        await database.write(insert_and_fail)
    assert await database.read(_count) == 0
    await database.write(_insert)
    assert await database.read(_count) == 1


async def test_a_broken_rule_has_a_name(database: Database) -> None:
    await database.write(_insert)
    with pytest.raises(UniqueViolation, match="products_slug_key"):
        await database.write(_insert)


async def test_a_cancelled_query_is_cancelled_on_the_server(database: Database) -> None:
    async def sleep(session: Session) -> None:
        await session.execute("SELECT pg_sleep(30)")

    async def running(session: Session) -> object:
        return await session.value(
            "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%30)'"
            " AND datname = current_database() AND pid <> pg_backend_pid()"
        )

    with trio.move_on_after(0.3):
        await database.write(sleep)
    assert await database.read(running) == 0
    await database.write(_insert)


async def test_killed_connections_are_replaced(database: Database) -> None:
    async def kill_others(session: Session) -> None:
        await session.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    for _ in range(3):
        await database.read(kill_others)
        await trio.sleep(0.05)
        await database.write(_count)


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with serving(binaries()) as made:
        yield made.cluster


async def test_a_restarted_server_is_found_again(loop: None, cluster: Cluster) -> None:
    database = Database(cluster.url)
    lost = trio.Event()
    try:
        await database.open()
        async with database.dedicated(lost.set) as connection:
            assert await one(connection, "SELECT 1") == 1
            cluster.stop("immediate")
            with trio.fail_after(5):
                await lost.wait()
            with pytest.raises(DatabaseUnavailable):
                await database.read(_one)
            cluster.start()
        assert await database.read(_one) == 1
    finally:
        await database.close()


async def _one(session: Session) -> object:
    return await session.value("SELECT 1")


async def test_two_that_migrate_at_once_do_it_once(database_url: str) -> None:
    results: list[int] = []

    async def boot() -> None:
        async with Database(database_url).dedicated(lambda: None) as connection:
            results.append(len(await migrate(connection)))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(boot)
    assert sorted(results) == [0, 0, 0, len(available())]


async def test_a_failed_migration_leaves_the_database_at_the_one_before(database_url: str) -> None:
    broken = Migration(2, "broken", "CREATE TABLE half (id INT); SELECT 1/0;")
    async with Database(database_url).dedicated(lambda: None) as connection:
        with pytest.raises(SeptemberError, match="0002_broken failed and was undone"):
            await migrate(connection, [*available()[:1], broken])
        assert await one(connection, "SELECT to_regclass('half')") is None
        assert await one(connection, "SELECT max(version) FROM schema_migrations") == 1
        fixed = Migration(2, "broken", "CREATE TABLE half (id INT)")
        assert await migrate(connection, [*available()[:1], fixed]) == (fixed,)


async def test_a_newer_or_changed_database_is_refused(database_url: str) -> None:
    first = available()[0]
    async with Database(database_url).dedicated(lambda: None) as connection:
        await migrate(connection, [first, Migration(2, "more", "SELECT 1")])
        with pytest.raises(SeptemberError, match="knows up to 0001"):
            await migrate(connection, [first])
        with pytest.raises(SeptemberError, match="its text has changed"):
            await migrate(connection, [Migration(1, "fleet", "SELECT 2"), *available()])


def test_the_cluster_survives_its_starter_and_is_adopted(postgres: Postgres) -> None:
    assert postgres.cluster.runs()
    postgres.cluster.start()  # as the next orchestrator does
    assert postgres.cluster.runs()
