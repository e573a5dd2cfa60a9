"""The platform tools put together."""

from ...memory.working import LIFETIME_S
from ..tools import Toolbox
from .files import read_file, write_file
from .memory import (
    knowledge_search,
    memory_episode_write,
    working_memory_get,
    working_memory_set,
)
from .search import find, grep
from .shell import bash


def platform_tools(*, working_memory_lifetime_s: int = LIFETIME_S) -> Toolbox:
    """All platform tools by name; what they need they get with each call."""
    tools = (
        *(read_file, write_file, grep, find, bash),
        *(memory_episode_write, knowledge_search),
        *(working_memory_set(working_memory_lifetime_s), working_memory_get),
    )
    return {tool.definition.name: tool for tool in tools}
