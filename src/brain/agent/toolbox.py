"""All tools of this Engine, by name."""

from collections.abc import Callable

from ...config import EngineConfig
from ..files.index import FileIndex
from ..web.fetch import Fetcher
from ..web.search import WebSearch
from .ask_user import ASK_USER
from .platform.attachments import read_attachment
from .platform.file_search import file_search
from .platform.tools import platform_tools
from .platform.web import web_fetch, web_search
from .tools import Toolbox


def toolbox(config: EngineConfig, fetcher: Fetcher, file_index: Callable[[], FileIndex]) -> Toolbox:
    """The tools an agent may be given."""
    search = WebSearch(
        config.brave_api_key, config.tavily_api_key, config.brave_base_url, config.tavily_base_url
    )
    more = [ASK_USER, web_search(search), web_fetch(fetcher), file_search(file_index)]
    if config.content_ingestion_enabled:
        more.append(read_attachment)
    tools = platform_tools(working_memory_lifetime_s=config.working_memory_ttl)
    return {**tools, **{tool.definition.name: tool for tool in more}}
