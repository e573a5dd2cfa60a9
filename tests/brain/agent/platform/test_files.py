"""read_file and write_file reach the task's folders and nothing else."""

import os
import stat
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
import trio

from september.brain.agent.platform.files import PAGE
from september.brain.agent.platform.reach import file_in, folder_of, reach
from september.brain.agent.platform.refusal import Refusal
from september.brain.agent.tools import ToolContext, ToolOutput
from september.brain.herald.conversation import StoredSource
from september.brain.media import rows
from september.brain.media.images import look
from september.brain.store.connection import Connection
from tests.brain.media.samples import bomb, picture


class Desk(Protocol):
    @property
    def context(self) -> ToolContext: ...

    @property
    def workspace(self) -> Path: ...

    def with_root(self, root: Path) -> "Desk": ...

    async def __call__(self, tool: str, **arguments: object) -> ToolOutput: ...


async def test_what_is_written_is_read_back(desk: Desk) -> None:
    written = await desk("write_file", path="a/b/notes.txt", content="grüße\n")
    assert written == ToolOutput("created a/b/notes.txt, 8 bytes")
    assert await desk("read_file", path="a/b/notes.txt") == ToolOutput("grüße\n")
    assert await desk("read_file", path="./a/../a/b/notes.txt") == ToolOutput("grüße\n")
    absolute = str(desk.workspace / "a/b/notes.txt")
    assert await desk("read_file", path=absolute) == ToolOutput("grüße\n")


async def test_a_long_file_comes_in_pages_that_add_up(desk: Desk) -> None:
    text = "".join(f"{n} äöü€😀\n" for n in range(9000))
    (desk.workspace / "long.txt").write_text(text)
    size = len(text.encode())
    pages = -(-size // PAGE)
    read = [await desk("read_file", path="long.txt", page=n) for n in range(1, pages + 1)]
    bodies = [output.text.rsplit("\n\n[page", 1)[0] for output in read]
    assert "".join(bodies) == text
    assert all(output.truncated for output in read)
    assert read[0].text.endswith(f"[page 1 of {pages}, {size} bytes; ask for page 2 to go on]")
    assert read[-1].text.endswith(f"[page {pages} of {pages}, {size} bytes]")
    beyond = await desk("read_file", path="long.txt", page=pages + 1)
    assert (beyond.error, f"{pages} page" in beyond.text) == ("no_such_page", True)


@pytest.mark.parametrize("size", [0, 1, PAGE - 1, PAGE])
async def test_a_file_of_one_page_has_no_note(desk: Desk, size: int) -> None:
    (desk.workspace / "f").write_text("x" * size)
    assert await desk("read_file", path="f") == ToolOutput("x" * size)


@pytest.mark.parametrize("content", [b"a\0b", b"\xff\xfe", b"ok" * 10 + b"\xc3"])
async def test_binary_files_are_refused(desk: Desk, content: bytes) -> None:
    (desk.workspace / "blob").write_bytes(content)
    assert (await desk("read_file", path="blob")).error == "binary_file"


@pytest.fixture
async def talk(desk: Desk) -> None:
    """The conversation in which the tools are called."""

    def begin(connection: Connection) -> None:
        connection.execute(
            "INSERT INTO conversations (task_id, agent, title, created_at, updated_at)"
            " VALUES (?, 'assistant', '', 0, 0)",
            (desk.context.task_id,),
        )

    await desk.context.database.write(begin)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
async def test_a_picture_is_kept_and_shown(talk: None, desk: Desk, kind: str) -> None:
    (desk.workspace / "cat").write_bytes(picture(kind=kind))
    (shown,) = (await desk("read_file", path="cat")).media
    assert isinstance(shown.source, StoredSource)
    assert shown.source.media_type == f"image/{kind.lower()}"
    keep = partial(rows.data_of, media_id=shown.source.media_id)
    assert await desk.context.database.read(keep) == picture(kind=kind)


async def test_outside_a_conversation_a_picture_is_told_and_not_kept(desk: Desk) -> None:
    (desk.workspace / "cat.png").write_bytes(picture())
    output = await desk("read_file", path="cat.png")
    assert (output.error, output.media) == (None, ())
    assert f"{len(picture())} bytes" in output.text


async def test_a_large_picture_is_shown_smaller(talk: None, desk: Desk) -> None:
    (desk.workspace / "big.png").write_bytes(picture(4000, 100))
    (shown,) = (await desk("read_file", path="big.png")).media
    assert isinstance(shown.source, StoredSource)
    data = await desk.context.database.read(partial(rows.data_of, media_id=shown.source.media_id))
    assert data is not None and look(data).width == 2047


@pytest.mark.parametrize("content", [picture(noise=True)[:100], bomb(), b"\x89PNG\r\n\x1a\n"])
async def test_what_only_begins_as_a_picture_is_refused(desk: Desk, content: bytes) -> None:
    (desk.workspace / "cat.png").write_bytes(content)
    output = await desk("read_file", path="cat.png")
    assert (output.error, output.media) == ("binary_file", ())


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("missing.txt", "not_found"),
        ("missing/deep.txt", "not_found"),
        ("file/under.txt", "not_found"),
        (".", "is_directory"),
        ("folder", "is_directory"),
        ("/etc/passwd", "outside_roots"),
        ("../secret", "outside_roots"),
        ("out/secret", "outside_roots"),
        ("outfile", "outside_roots"),
        ("pipe", "not_a_file"),
        ("a\0b", "invalid_path"),
        ("x" * 300, "invalid_path"),
    ],
)
async def test_what_cannot_be_read_is_refused_with_a_reason(
    desk: Desk, tmp_path: Path, path: str, error: str
) -> None:
    (tmp_path / "secret").write_text("secret")
    (desk.workspace / "folder").mkdir()
    (desk.workspace / "file").touch()
    (desk.workspace / "out").symlink_to(tmp_path)
    (desk.workspace / "outfile").symlink_to(tmp_path / "secret")
    os.mkfifo(desk.workspace / "pipe")
    with trio.fail_after(5):
        output = await desk("read_file", path=path)
    assert output.error == error
    assert "secret" not in output.text.replace(str(tmp_path / "secret"), "").replace(path, "")


async def test_a_link_inside_the_workspace_is_followed(desk: Desk) -> None:
    (desk.workspace / "real.txt").write_text("here")
    (desk.workspace / "link.txt").symlink_to("real.txt")
    assert (await desk("read_file", path="link.txt")).text == "here"
    await desk("write_file", path="link.txt", content="there")
    assert (desk.workspace / "link.txt").is_symlink()
    assert (desk.workspace / "real.txt").read_text() == "there"


async def test_replacing_is_atomic_and_keeps_the_mode(desk: Desk) -> None:
    target = desk.workspace / "run.sh"
    target.write_text("old")
    target.chmod(0o755)
    with target.open() as reader:
        assert (await desk("write_file", path="run.sh", content="new")).error is None
        assert reader.read() == "old"
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o755
    assert os.listdir(desk.workspace) == ["run.sh"]


async def test_writing_outside_needs_a_grant_and_then_reaches_that_file_alone(
    desk: Desk, tmp_path: Path
) -> None:
    target = tmp_path / "granted.txt"
    assert (await desk("write_file", path=str(target), content="x")).error == "outside_roots"
    granted = desk.with_root(target)
    assert (await granted("write_file", path=str(target), content="x")).error is None
    assert target.read_text() == "x"
    beside = str(tmp_path / "other.txt")
    assert (await granted("write_file", path=beside, content="x")).error == "outside_roots"


@pytest.mark.parametrize("path", [".", "folder", "folder/"])
async def test_a_folder_is_not_written_over(desk: Desk, path: str) -> None:
    (desk.workspace / "folder").mkdir()
    assert (await desk("write_file", path=path, content="x")).error == "is_directory"


async def test_a_missing_workspace_is_made_by_the_first_write(desk: Desk) -> None:
    desk.workspace.rmdir()
    assert (await desk("write_file", path="a.txt", content="x")).error is None
    assert (await desk("read_file", path="a.txt")).text == "x"


async def test_lone_surrogates_do_not_break_a_write(desk: Desk) -> None:
    assert (await desk("write_file", path="s.txt", content="a\ud800b")).error is None
    assert (await desk("read_file", path="s.txt")).text == "a?b"


def test_a_folder_swapped_for_a_link_after_the_check_is_refused(tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    (workspace / "sub").mkdir(parents=True)
    (workspace / "sub" / "f").write_text("mine")
    (tmp_path / "f").write_text("secret")
    reached = reach("sub/f", workspace, ())
    (workspace / "sub").rename(workspace / "moved")
    (workspace / "sub").symlink_to(tmp_path)
    with pytest.raises(Refusal) as refused, folder_of(reached):
        pass
    assert refused.value.code in ("changed", "not_found")


def test_a_file_swapped_for_a_link_after_the_check_is_refused(tmp_path: Path) -> None:
    workspace = tmp_path / "w"
    workspace.mkdir()
    (workspace / "f").write_text("mine")
    reached = reach("f", workspace, ())
    (workspace / "f").unlink()
    (workspace / "f").symlink_to("/etc/passwd")
    with pytest.raises(Refusal) as refused, folder_of(reached) as folder:
        file_in(folder, reached)
    assert refused.value.code == "changed"
