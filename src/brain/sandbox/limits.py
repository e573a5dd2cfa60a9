"""What a command may use up before it is stopped."""

from dataclasses import dataclass
from typing import Final

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one command (contract, section 19.17); sizes are in bytes.

    `memory` is private memory of each process (RLIMIT_DATA: what runtimes merely reserve is not
    counted), `file_size` of one file, `scratch` of each of /tmp and /dev/shm. `overflow` is how
    much of the output beyond `output` is kept in a file.
    """

    output: int = 256 * 1024
    overflow: int = 64 * MIB
    memory: int = 1024 * MIB
    processes: int = 256
    file_size: int = 1024 * MIB
    scratch: int = 256 * MIB

    def prelude(self, *, count_processes: bool) -> str:
        """Shell code that sets the limits for itself and its children, for good.

        Set inside the user namespace, where the kernel counts the processes of this sandbox
        alone; outside of one `count_processes` would count everything the user runs.
        """
        kib = 1024
        settings = ["-c 0", f"-d {self.memory // kib}", f"-f {self.file_size // kib}"]
        if count_processes:
            settings.append(f"-u {self.processes}")
        return "".join(f"ulimit {setting} 2>/dev/null;" for setting in settings)
