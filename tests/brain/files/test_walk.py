"""Looking at files: chunks of whole lines, links never followed, what is no text left out."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from september.brain.files import walk
from september.brain.files.walk import CHUNK_CHARACTERS, CHUNK_LINES, LARGEST


@given(st.text(alphabet="ab \n", max_size=3000))
def test_chunks_hold_every_line_in_order(text: str) -> None:
    rebuilt = "\n".join(chunk.text for chunk in walk.chunks(text))
    assert [line for line in rebuilt.split("\n") if line.strip()] == [
        line for line in text.splitlines() if line.strip()
    ]


def test_a_chunk_knows_its_lines_and_has_a_size() -> None:
    text = "\n".join(f"line {n}" for n in range(1, 101))
    found = list(walk.chunks(text))
    assert [(one.first_line, one.last_line) for one in found] == [(1, 40), (41, 80), (81, 100)]
    assert found[1].text.startswith("line 41\n") and found[1].text.endswith("line 80")
    long = list(walk.chunks("x" * 5000 + "\ny"))
    assert all(len(one.text) <= CHUNK_CHARACTERS + CHUNK_LINES for one in long)
    assert [one.first_line for one in long] == [1, 1, 1]


def read(root: Path, name: str) -> walk.ReadFile:
    """Read one file as a pass does."""
    found = walk.stamps(root, 1000, lambda: None)
    return walk.read(root, str(root / name), found[str(root / name)])


def test_what_is_no_text_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"ab\0cd")
    (tmp_path / "b.txt").write_bytes("caf\xe9".encode("latin-1"))
    (tmp_path / "c.log").write_bytes(b"x" * (LARGEST + 1))
    (tmp_path / "d.txt").write_text("fine\n")
    skipped = {name: read(tmp_path, name).skipped for name in ("a.bin", "b.txt", "c.log", "d.txt")}
    assert skipped == {"a.bin": "binary", "b.txt": "binary", "c.log": "too large", "d.txt": None}


def test_links_and_the_folders_of_programs_are_left_out(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret")
    root = tmp_path / "root"
    (root / ".git").mkdir(parents=True)
    (root / ".git" / "config").write_text("x")
    (root / "kept.txt").write_text("x")
    (root / "link.txt").symlink_to(outside / "secret.txt")
    (root / "linked").symlink_to(outside)
    os.mkfifo(root / "pipe")
    assert set(walk.stamps(root, 1000, lambda: None)) == {str(root / "kept.txt")}


@pytest.mark.parametrize("place", ["folder", "file"])
def test_a_link_that_is_put_there_meanwhile_is_not_followed(place: str, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "a.txt").write_text("secret")
    root = tmp_path / "root"
    (root / "in").mkdir(parents=True)
    (root / "in" / "a.txt").write_text("mine")
    stamp = walk.stamps(root, 10, lambda: None)[str(root / "in" / "a.txt")]
    (root / "in" / "a.txt").unlink()
    if place == "folder":
        (root / "in").rmdir()
        (root / "in").symlink_to(tmp_path / "outside")
    else:
        (root / "in" / "a.txt").symlink_to(tmp_path / "outside" / "a.txt")
    assert walk.read(root, str(root / "in" / "a.txt"), stamp).skipped == "unreadable"


def test_at_most_so_many_files_are_looked_at(tmp_path: Path) -> None:
    for n in range(10):
        (tmp_path / f"{n}").write_text("x")
    assert len(walk.stamps(tmp_path, 4, lambda: None)) == 4
