"""All tools of this Engine, by name."""

from ...config import EngineConfig
from .ask_user import ASK_USER
from .tools import Toolbox


def toolbox(config: EngineConfig) -> Toolbox:
    """The tools an agent may be given."""
    return {tool.definition.name: tool for tool in (ASK_USER,)}
