"""Taking the orchestrator's secrets out of what it logs and records."""

import re
from collections.abc import Callable
from typing import Final

from ..config import FleetConfig, Secret
from .keys import ENGINE_PREFIX, PLATFORM_PREFIX

_REDACTED: Final = "[redacted]"
_SECRET: Final = re.compile("KEY|TOKEN|SECRET|PASSWORD")
"""Which of an Engine's variables are to be hidden: a model's name is not."""

_SHORTEST: Final = 8
"""A shorter value would be found in half of all words."""


def scrubber(config: FleetConfig) -> Callable[[str], str]:
    """A function that replaces what the configuration keeps secret, and any key of ours."""
    given = (getattr(config, name) for name in config.__dataclass_fields__)
    secrets = [value.reveal() for value in given if isinstance(value, Secret)]
    secrets += [value.reveal() for name, value in config.engine_env.items() if _SECRET.search(name)]
    parts = {part for whole in secrets for part in (whole, *whole.split(","))}
    known = sorted((part for part in parts if len(part) >= _SHORTEST), key=len, reverse=True)
    ours = rf"(?:{ENGINE_PREFIX}|{PLATFORM_PREFIX})[\w-]+"
    pattern = re.compile("|".join([*map(re.escape, known), ours]))
    return lambda text: pattern.sub(_REDACTED, text)
