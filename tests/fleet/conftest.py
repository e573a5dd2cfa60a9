"""A real PostgreSQL for the fleet's tests: one server for the run, one database for each test."""

import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from september.fleet.store.database import Database, Dedicated, Session, event_loop
from september.fleet.store.embedded import Cluster, binaries
from september.fleet.store.migrate import migrate

from .lineage import gaps


@dataclass(frozen=True)
class Postgres:
    """A running server; `url` is its first database."""

    cluster: Cluster

    @property
    def url(self) -> str:
        return self.cluster.url

    def database(self, name: str) -> str:
        return self.url.replace("/orchestrator?", f"/{name}?")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    with serving(binaries()) as made:
        yield made


@contextmanager
def serving(programs: Path) -> Generator[Postgres]:
    """A new cluster with its server, made with these programs."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # not below pytest's own, which is for us alone
    folder.chmod(0o755)
    cluster = Cluster(folder / "c", programs, ("fsync=off", "max_connections=200"))
    cluster.start()
    yield Postgres(cluster)
    cluster.stop("immediate")
    shutil.rmtree(folder)


@pytest.fixture
async def loop() -> AsyncIterator[None]:
    async with event_loop():
        yield


@asynccontextmanager
async def fresh_database(postgres: Postgres) -> AsyncGenerator[str]:
    """A database of one's own, dropped afterwards; gives its URL."""
    name = f"t{uuid4().hex}"
    admin = Database(postgres.url, pool_min=1, pool_max=1)
    await admin.open()

    async def create(session: Session) -> None:
        await session.execute(f"CREATE DATABASE {name}")

    async def drop(session: Session) -> None:
        await session.execute(f"DROP DATABASE {name} WITH (FORCE)")

    await admin.read(create)
    yield postgres.database(name)
    await admin.read(drop)
    await admin.close()


@pytest.fixture
async def database_url(loop: None, postgres: Postgres) -> AsyncIterator[str]:
    """A fresh database, in which no trace may have a gap when the test is over."""
    async with fresh_database(postgres) as url:
        yield url
        assert await gaps(url) == []


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on a fresh, migrated database."""
    made = Database(database_url)
    async with made.dedicated(lambda: None) as connection:
        await migrate(connection)
    await made.open()
    yield made
    await made.close()


async def one(connection: Dedicated, sql: str) -> object:
    async def work(session: Session) -> object:
        return await session.value(sql)

    return await connection.run(work)
