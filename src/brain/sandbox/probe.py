"""Finding out, by running it, what confinement works on this machine."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Final

from . import landlock, process
from .bubblewrap import Bubblewrap, View, candidates
from .confining import confiners
from .guardhouse import Guardhouse
from .launch import SYSTEM_PATH
from .limits import Limits

_LONGEST_S: Final = 10.0
_CODE: Final = 37
"""An exit code that only a shell that really ran can give."""

_BEST: Final = (True, False)


async def probe(house: Guardhouse, binaries: Iterable[Path]) -> Bubblewrap | str:
    """The strongest bubblewrap that runs here; else the reason why none does."""
    problem = "bubblewrap is not installed"
    interface = landlock.version()
    versions = (interface, 0) if interface else (0,)
    for binary in binaries:
        for own_proc, seals, version, confiner in product(_BEST, _BEST, versions, confiners()):
            candidate = Bubblewrap(binary, own_proc, seals, version, confiner)
            failure = await _try_out(house, candidate)
            if failure is None:
                return candidate
            problem = f"{binary}: {failure}"
    return problem


async def look_around() -> Bubblewrap | str:
    """The same for a process that has no sandbox of its own."""
    house = Guardhouse()
    try:
        return await probe(house, candidates())
    finally:
        await house.close()


async def _try_out(house: Guardhouse, candidate: Bubblewrap) -> str | None:
    """Run a shell in it; None if that works, else what it said."""
    shell = ("bash", "-c", f"exit {_CODE}")
    launch = candidate.launch(shell, Path("/"), View(), {"PATH": SYSTEM_PATH}, Limits())
    said = bytearray()

    async def listen(chunk: bytes) -> None:
        said.extend(chunk[:2048])

    try:
        ended = await process.run(house, process.Job(launch, b"", _LONGEST_S, listen))
    except OSError as error:
        return str(error)
    if ended.exit_code == _CODE:
        return None
    return said.decode(errors="replace").strip() or f"exit code {ended.exit_code}"
