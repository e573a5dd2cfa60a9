"""Running Python as an ordinary user, who has no privilege to lose."""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import trio

import september

_VERSION: Final = f"{sys.version_info.major}.{sys.version_info.minor}"
SYSTEM_PYTHON: Final = f"/usr/bin/python{_VERSION}"
"""Where everybody may run it, and of our own version: it imports the libraries that we have."""

NOBODY: Final = 65534
IDENTITY: Final[dict[str, Any]] = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
"""Arguments for a process that is started as nobody."""

needs_nobody: Final = pytest.mark.skipif(
    os.getuid() != 0 or not shutil.which(SYSTEM_PYTHON),
    reason=f"needs root, to become nobody, and a Python {_VERSION} in /usr/bin for it",
)


def as_nobody(folder: Path) -> Mapping[str, str]:
    """Make what nobody needs reachable, and tell Python where things are."""
    for part in (folder, *folder.parents):
        if part.stat().st_uid == os.getuid() and part != Path("/"):
            part.chmod(part.stat().st_mode | 0o711)
    package = Path(september.__file__).resolve().parent.parent
    site = Path(trio.__file__).resolve().parent.parent
    return {"PYTHONPATH": f"{package / '.dev'}:{site}", "PATH": os.environ["PATH"]}
