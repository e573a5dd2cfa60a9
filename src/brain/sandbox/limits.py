"""What a command may use up before it is stopped."""

from typing import Final

from msgspec import Struct

MIB: Final = 1024 * 1024


class Limits(Struct, frozen=True):
    """Bounds of one command (contract, section 19.17); sizes are in bytes.

    `memory` is private memory of each process (RLIMIT_DATA: what runtimes merely reserve is not
    counted) and of all of a command's processes together; `file_size` is of one file, `scratch`
    of each of /tmp and /dev/shm. `overflow` is how much of the output beyond `output` is kept in
    a file.
    """

    output: int = 256 * 1024
    overflow: int = 64 * MIB
    memory: int = 1024 * MIB
    processes: int = 256
    file_size: int = 1024 * MIB
    scratch: int = 256 * MIB

    @property
    def of_each_process(self) -> tuple[tuple[str, int], ...]:
        """What the kernel enforces, by the names of the RLIMIT_ constants; no core is dumped."""
        return (
            ("RLIMIT_CORE", 0),
            ("RLIMIT_DATA", self.memory),
            ("RLIMIT_FSIZE", self.file_size),
        )
