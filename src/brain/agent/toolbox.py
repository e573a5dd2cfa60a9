"""All tools of this Engine, by name."""

from ...config import EngineConfig
from .ask_user import ASK_USER
from .platform.attachments import read_attachment
from .platform.tools import platform_tools
from .tools import Toolbox


def toolbox(config: EngineConfig) -> Toolbox:
    """The tools an agent may be given."""
    tools = platform_tools(working_memory_lifetime_s=config.working_memory_ttl)
    more = [ASK_USER, read_attachment] if config.content_ingestion_enabled else [ASK_USER]
    return {**tools, **{tool.definition.name: tool for tool in more}}
