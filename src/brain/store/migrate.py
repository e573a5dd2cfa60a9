"""Forward-only migrations of the brain: numbered SQL files, each recorded in its transaction."""

import hashlib
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final, Literal, TypeAlias

import apsw
from msgspec import Struct

from ...errors import ConfigError, SeptemberError
from .brain_file import BrainFile
from .connection import Handle, connect
from .faults import Verdict, explain, judge
from .lock import BrainLock
from .session import Role, configure

Mode: TypeAlias = Literal["auto", "gate"]
"""auto: apply what is pending at boot. gate: refuse to boot, so that an operator decides."""

_FILE_NAME: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    version    INTEGER PRIMARY KEY,
    name       TEXT NOT NULL,
    checksum   TEXT NOT NULL,
    applied_at TEXT NOT NULL
) STRICT
"""


class Migration(Struct, frozen=True):
    """One file. `checksum` is the SHA-256 of its text, in hex."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What is recorded, so that a file changed afterwards is noticed."""
        return hashlib.sha256(self.sql.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


class Applied(Struct, frozen=True):
    """A migration as the brain remembers it."""

    version: int
    name: str
    checksum: str

    def __str__(self) -> str:
        return f"{self.version:04}_{self.name}"


Progress: TypeAlias = Callable[[Migration, int, int], None]
"""Told before each migration: which one, its number from 1, how many there are."""


def no_progress(migration: Migration, number: int, of: int) -> None:
    """Tell nobody."""


def available(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """Read the migrations of `folder`, by default those that come with the Engine.

    Raises SeptemberError MIGRATION_REQUIRED for a wrong name, a gap or a number used twice.
    """
    folder = folder or _built_in()
    try:
        found = [_read(file) for file in folder.iterdir() if file.name.endswith(".sql")]
    except OSError as error:
        raise _refuse(f"cannot read the migrations in {folder}: {error.strerror}") from error
    found.sort(key=lambda migration: migration.version)
    for expected, migration in enumerate(found, start=1):
        if migration.version != expected:
            raise _refuse(
                f"{folder} has {migration} where {expected:04} should be: a gap, or a number used "
                "twice. Install the Engine again"
            )
    if not found:
        raise _refuse(
            f"{folder} has no migrations. Install the Engine again, or set MIGRATIONS_DIR"
        )
    return tuple(found)


def unapplied(
    applied: Sequence[Applied], found: Sequence[Migration], path: Path
) -> tuple[Migration, ...]:
    """Return those of `found` that the brain at `path` still needs.

    Raises SeptemberError MIGRATION_REQUIRED where the two do not fit together.
    """
    for expected, done in enumerate(applied, start=1):
        if done.version != expected:
            raise _refuse(
                f"{path} has {done} but not {expected:04}: its record has a gap. Restore a backup"
            )
    if len(applied) > len(found):
        newest, known = applied[-1], found[-1]
        raise _refuse(
            f"{path} is newer than this Engine: it is at {newest}, the Engine knows up to {known}."
            f" Run an Engine that knows {newest}, or restore a backup made before it",
            brain=newest.version,
            engine=known.version,
        )
    for done, migration in zip(applied, found, strict=False):
        if done.checksum != migration.checksum:
            raise _refuse(
                f"{migration} is not the file that {path} was migrated with ({done}): its text "
                "has changed. Run the Engine that made this brain, or restore the file",
                version=done.version,
            )
    return tuple(found[len(applied) :])


def migrate(
    db: Handle,
    path: Path,
    found: Sequence[Migration],
    mode: Mode = "auto",
    progress: Progress = no_progress,
) -> tuple[Migration, ...]:
    """Bring the brain up to date and return what was applied. Runs in the writer's thread.

    With `mode` gate an existing brain is left alone and MIGRATION_REQUIRED is raised; a brain
    that is still empty has nothing to protect and is always made.
    """
    applied = _applied(db, path)
    todo = unapplied(applied, found, path)
    if todo and applied and mode == "gate":
        raise _refuse(
            f"{path} is at {applied[-1]} and needs {', '.join(map(str, todo))} "
            "(MIGRATIONS=gate). Make a backup, then run: september migrate",
            pending=[str(migration) for migration in todo],
        )
    _lay_out(db, path)
    for number, migration in enumerate(todo, start=1):
        progress(migration, number, len(todo))
        _apply(db, path, migration)
    return todo


def pending(path: Path, folder: Traversable | None = None) -> tuple[Migration, ...]:
    """Return the migrations that the brain at `path` needs; nothing is changed.

    A brain that does not exist yet needs them all. Raises as `unapplied` and `available` do.
    """
    found = available(folder)
    if not path.exists():
        return found
    with _opened(path, read_only=True) as db:
        return unapplied(_applied(db, path), found, path)


def apply(
    path: Path, progress: Progress = no_progress, folder: Traversable | None = None
) -> tuple[Migration, ...]:
    """Bring the brain at `path` up to date while no Engine runs on it; return what was applied.

    Raises SeptemberError BRAIN_LOCKED if one does.
    """
    found = available(folder)
    BrainFile(path).prepare()
    with BrainLock(path), _opened(path) as db:
        return migrate(db, path, found, "auto", progress)


def _built_in() -> Traversable:
    packaged = files(__name__.partition(".")[0]) / "migrations"  # in a wheel
    if not packaged.is_dir():
        packaged = Path(__file__).resolve().parents[3] / "migrations"  # in a checkout
    return packaged / "brain"


def _read(file: Traversable) -> Migration:
    match = _FILE_NAME.fullmatch(file.name)
    if match is None:
        raise _refuse(f"{file} is not named like a migration: 0001_what_it_does.sql")
    return Migration(int(match[1]), match[2], file.read_text(encoding="utf-8"))


@contextmanager
def _opened(path: Path, *, read_only: bool = False) -> Generator[Handle, None, None]:
    """Open the brain in this thread; what SQLite raises comes out explained."""
    try:
        db = connect(path, read_only=read_only)
        try:
            if not read_only:
                configure(db, Role.WRITER)
            yield db
        finally:
            db.close()
    except apsw.Error as error:
        raise explain(error, judge(error), path) from error


def _applied(db: Handle, path: Path) -> tuple[Applied, ...]:
    if not db.table_exists("main", "schema_migrations"):
        if db.execute("SELECT 1 FROM sqlite_schema").fetchone() is not None:
            raise _refuse(
                f"{path} is the SQLite database of some other program, not a brain; it was left "
                "as it is. Choose another SQLITE_DB_PATH"
            )
        return ()
    rows = db.execute("SELECT version, name, checksum FROM schema_migrations ORDER BY version")
    return tuple(Applied(*row) for row in rows)


def _lay_out(db: Handle, path: Path) -> None:
    """Set what is a property of the file: only once it is known to be a brain."""
    if db.execute("PRAGMA page_count").fetchone() == (0,):
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # cannot be chosen later
    if db.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise ConfigError(
            "SQLITE_DB_PATH",
            f"{path} is on a file system without shared memory, which the write-ahead log needs. "
            "Use a local file system, not a network share",
        )


def _apply(db: Handle, path: Path, migration: Migration) -> None:
    """Apply one migration and record it, both or neither."""
    db.execute("PRAGMA foreign_keys = OFF")  # a table that is rebuilt must not cascade
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            _run(db, migration)
            _record(db, migration)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
    except Exception as error:
        raise _failed(error, db, path, migration) from error
    finally:
        db.execute("PRAGMA foreign_keys = ON")


def _run(db: Handle, migration: Migration) -> None:
    db.set_commit_hook(_refuse_commit)
    try:
        for _ in db.execute(migration.sql):
            pass  # a statement's rows must be read before the next statement runs
    finally:
        db.set_commit_hook(None)
    broken = db.execute("PRAGMA foreign_key_check").fetchone()
    if broken is not None:
        raise ValueError(f"row {broken[1]} of {broken[0]} refers to a missing {broken[2]}")


def _refuse_commit() -> bool:
    raise ValueError("it must not commit: each migration is one transaction")


def _record(db: Handle, migration: Migration) -> None:
    db.execute(_TABLE)
    db.execute(
        "INSERT INTO schema_migrations (version, name, checksum, applied_at)"
        " VALUES (?, ?, ?, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
        (migration.version, migration.name, migration.checksum),
    )


def _failed(error: Exception, db: Handle, path: Path, migration: Migration) -> Exception:
    verdict = judge(error, db.system_errno)
    if verdict is not Verdict.CALLER:
        return explain(error, verdict, path)
    return _refuse(
        f"{migration} failed on {path}: {error}. The brain is as it was before it. Run the "
        "Engine it worked with, and report this",
        version=migration.version,
    )


def _refuse(message: str, **details: object) -> SeptemberError:
    return SeptemberError("MIGRATION_REQUIRED", message, details)
