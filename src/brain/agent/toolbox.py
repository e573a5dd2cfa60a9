"""All tools of this Engine, by name."""

from ...config import EngineConfig
from .ask_user import ASK_USER
from .platform.tools import platform_tools
from .tools import Toolbox


def toolbox(config: EngineConfig) -> Toolbox:
    """The tools an agent may be given."""
    tools = platform_tools(working_memory_lifetime_s=config.working_memory_ttl)
    return {**tools, ASK_USER.definition.name: ASK_USER}
