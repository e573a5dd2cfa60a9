"""The file index follows the files: what is new, changed or gone, and what a search finds in it."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from september.actors import ActorRef, ChildSpec, SupervisorSpec, Tree, ref_of, running_tree
from september.brain.agent.platform.file_search import file_search
from september.brain.agent.tools import ToolContext, ToolOutput
from september.brain.channels.events import Event
from september.brain.files import index as index_module
from september.brain.files import rows
from september.brain.files.index import FileIndex, Found
from september.brain.files.indexer import FileIndexer, FileIndexerMessage, Refresh
from september.brain.herald.embedder_local import LocalEmbedder
from september.brain.herald.embeddings import EmbedderActor, EmbedderMessage, Embeddings
from september.brain.herald.provider import Fault, ProviderError
from september.brain.hitl import Answer, Kind
from september.brain.sandbox.sandbox import Sandbox, SandboxMessage
from september.brain.store.brain_file import BrainFile
from september.brain.store.database import Database
from september.brain.store.store import Store, StoreMessage

LONG_AGO = (1_000_000_000, 1_000_000_000)


class Stage:
    """A store, an embedder and a file indexer, and the index they make."""

    def __init__(self, folder: Path, embedder: LocalEmbedder | None = None) -> None:
        self.root = folder / "root"
        self.root.mkdir()
        brain, embedder = BrainFile(folder / "brain.sqlite"), embedder or LocalEmbedder()
        self.store: ChildSpec[StoreMessage] = ChildSpec("store", lambda: Store(brain))
        self.embedder: ChildSpec[EmbedderMessage] = ChildSpec(
            "embedder", lambda: EmbedderActor(embedder)
        )
        self.indexer: ChildSpec[FileIndexerMessage] = ChildSpec(
            "files", lambda: FileIndexer(Database(ref_of(self.store)), self._embeddings(embedder))
        )
        self.sandbox: ChildSpec[SandboxMessage] = ChildSpec("sandbox", Sandbox)
        self._name, self._dimension = embedder.name, embedder.dimension
        self.tree: Tree
        self.index: FileIndex

    def _embeddings(self, embedder: LocalEmbedder) -> Embeddings:
        return Embeddings(ref_of(self.embedder), embedder.name, embedder.dimension)

    def use(self, tree: Tree) -> None:
        """Work in this running tree."""
        self.tree = tree
        self.embeddings = Embeddings(tree.ref(self.embedder), self._name, self._dimension)
        self.index = FileIndex(self.database, self.embeddings, self.ref)

    @property
    def specs(self) -> tuple[ChildSpec[Any], ...]:
        """The actors."""
        return (self.store, self.embedder, self.indexer, self.sandbox)

    @property
    def database(self) -> Database:
        return Database(self.tree.ref(self.store))

    @property
    def ref(self) -> ActorRef[FileIndexerMessage]:
        return self.tree.ref(self.indexer)

    def write(self, name: str, text: str) -> Path:
        """Write a file below the root."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    async def search(self, text: str, folder: Path | None = None) -> Found:
        """Search below the root."""
        return await self.index.search(text, [self.root], [str(folder or self.root)], 10)

    async def names(self, text: str) -> list[str]:
        """The names of the files found."""
        return [Path(hit.path).name for hit in (await self.search(text)).hits]

    async def count(self, table: str) -> int:
        """Rows of a table."""
        found = await self.database.read(
            lambda connection: connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        )
        return int(found[0]) if found else 0

    async def _unembedded(self) -> bool:
        return await self.count("file_chunks") != await self.count("file_chunks_vec")

    async def embedded(self) -> None:
        """Wait until every chunk has its vector."""
        with trio.fail_after(30):
            while await self._unembedded():  # noqa: ASYNC110  there is no event to wait on
                await trio.sleep(0.02)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncGenerator[Stage]:
    made = Stage(tmp_path)
    async with running_tree(SupervisorSpec("files", made.specs)) as tree:
        made.use(tree)
        yield made


async def test_files_are_found_by_their_words_and_say_where(stage: Stage) -> None:
    text = "\n".join([f"line {n}" for n in range(1, 60)] + ["def retry_delay():", "    return 3"])
    stage.write("src/retry.py", text)
    stage.write("notes.md", "Nothing about that here, only bread and butter.")
    found = await stage.search("where is the retry delay")
    assert Path(found.hits[0].path).name == "retry.py"
    assert "def retry_delay" in found.hits[0].snippet
    line = found.hits[0].first_line
    assert text.split("\n")[line - 1] == found.hits[0].snippet.split("\n")[0]
    assert found.passing is None and found.standing.files == 2


async def test_a_word_in_the_path_counts(stage: Stage) -> None:
    stage.write("billing/rules.txt", "first rule")
    stage.write("other/rules.txt", "first rule")
    assert Path((await stage.search("billing rule")).hits[0].path).parent.name == "billing"


async def test_files_are_found_by_their_meaning(stage: Stage) -> None:
    stage.write("a.txt", "The physician treated the sick child in the hospital.")
    stage.write("b.txt", "The mechanic repaired the engine of the truck.")
    await stage.search("x")
    await stage.embedded()
    assert (
        await stage.names("a doctor and a patient") == ["a.txt"]
        or (await stage.names("a doctor and a patient"))[0] == "a.txt"
    )


async def test_the_index_follows_what_changes(stage: Stage) -> None:
    path = stage.write("a.txt", "apples")
    stage.write("b.txt", "pears")
    assert await stage.names("apples") == ["a.txt"]
    path.write_text("cherries")
    assert await stage.names("apples") == [] and await stage.names("cherries") == ["a.txt"]
    path.rename(stage.root / "c.txt")
    assert await stage.names("cherries") == ["c.txt"]
    (stage.root / "c.txt").unlink()
    assert await stage.names("cherries") == []
    assert (await stage.count("indexed_files"), await stage.count("file_chunks")) == (1, 1)


async def test_only_what_changed_is_read_and_the_same_content_keeps_its_vectors(
    stage: Stage,
) -> None:
    path = stage.write("a.txt", "apples")
    await stage.search("x")
    await stage.embedded()
    chunk = "SELECT max(chunk_id) FROM file_chunks"
    before = await stage.database.read(lambda c: c.execute(chunk).fetchone())
    os.utime(path, LONG_AGO)
    await stage.search("x")
    known = await stage.database.read(lambda c: rows.known(c, str(stage.root)))
    assert known[str(path)].mtime_ns == LONG_AGO[1] * 10**9
    assert await stage.database.read(lambda c: c.execute(chunk).fetchone()) == before


async def test_what_is_left_out_is_said(stage: Stage) -> None:
    (stage.root / "a.bin").write_bytes(b"\0" * 10)
    (stage.root / "b.log").write_bytes(b"x" * 2_000_000)
    stage.write("c.txt", "text")
    found = await stage.search("text")
    assert found.standing.skipped == {"binary": 1, "too large": 1}


async def test_only_what_is_below_the_folder_is_found(stage: Stage) -> None:
    stage.write("in/a.txt", "apples")
    stage.write("inside/b.txt", "apples")
    found = await stage.search("apples", stage.root / "in")
    assert [Path(hit.path).name for hit in found.hits] == ["a.txt"]


async def test_a_request_during_a_pass_is_answered_by_the_next_one(stage: Stage) -> None:
    for n in range(100):
        stage.write(f"{n}.txt", f"number {n}")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.ref.call, Refresh(stage.root))
        await trio.testing.wait_all_tasks_blocked()
        stage.write("late.txt", "latecomer")
        await stage.ref.call(Refresh(stage.root))
    assert await stage.names("latecomer") == ["late.txt"]


async def test_a_search_does_not_wait_for_ever_and_says_how_far_the_index_is(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(500):
        stage.write(f"{n}.txt", f"number {n}")
    monkeypatch.setattr(index_module, "PATIENCE_S", 0.02)
    found = await stage.search("number 7")
    assert found.passing is not None and found.passing.done < 500
    monkeypatch.setattr(index_module, "PATIENCE_S", 60.0)
    assert (await stage.search("number 7")).standing.files == 500


async def test_what_a_crash_left_undone_is_done_by_the_next_pass(stage: Stage) -> None:
    stage.write("a.txt", "apples")
    stage.write("b.txt", "pears")
    await stage.search("x")
    lose = "DELETE FROM indexed_files WHERE path LIKE '%b.txt'"
    await stage.database.write(lambda c: c.execute(lose))
    fresh = FileIndex(stage.database, stage.embeddings, stage.ref)
    stage.index = fresh
    assert await stage.names("pears") == ["b.txt"] and await stage.names("apples") == ["a.txt"]


class NoEmbedder(LocalEmbedder):
    """An embedder whose service is down."""

    async def embed(self, texts: Sequence[str]) -> list[bytes]:
        raise ProviderError(Fault.UNAVAILABLE, "down", provider="test")

    async def embed_query(self, text: str, weights: Mapping[str, float]) -> bytes:
        raise ProviderError(Fault.UNAVAILABLE, "down", provider="test")


async def test_words_are_found_while_the_embedder_is_down(tmp_path: Path) -> None:
    made = Stage(tmp_path, NoEmbedder())
    async with running_tree(SupervisorSpec("files", made.specs)) as tree:
        made.use(tree)
        made.write("a.txt", "apples")
        assert await made.names("apples") == ["a.txt"]
        assert await made.count("file_chunks_vec") == 0


async def tool(stage: Stage, **arguments: object) -> ToolOutput:
    """The tool's answer."""

    async def emit(event: Event) -> None:
        raise AssertionError(event)

    async def ask(
        tool_call_id: str, kind: Kind, question: str, *, options: tuple[str, ...] = ()
    ) -> Answer:
        raise AssertionError(question)

    context = ToolContext(
        task_id="t",
        turn_id="t",
        tool_call_id="c",
        workspace=stage.root / "task",
        roots=(stage.root / "task", stage.root),
        database=stage.database,
        sandbox=stage.tree.ref(stage.sandbox),
        emit=emit,
        ask=ask,
        scrub=str,
    )
    return await file_search(lambda: stage.index).run(dict(arguments), context)


async def test_the_tool_shows_paths_as_the_other_tools_take_them(stage: Stage) -> None:
    stage.write("task/notes/a.txt", "apples and pears")
    stage.write("shared/b.txt", "apples in the cellar")
    (stage.root / "c.bin").write_bytes(b"\0")
    found = await tool(stage, query="apples")
    assert "notes/a.txt:1\napples and pears" in found.text
    assert f"{stage.root}/shared/b.txt:1" in found.text
    assert "[not searched: 1 binary]" in found.text
    assert "a.txt" not in (await tool(stage, query="apples", path="../shared")).text
    assert "nothing found" in (await tool(stage, query="zeppelin")).text
    assert (await tool(stage, query="x", path="/etc")).error == "outside_roots"
    assert (await tool(stage, query="apples", limit=1)).text.count("apples") == 1
