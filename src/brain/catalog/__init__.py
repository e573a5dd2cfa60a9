"""The catalog: what a deployment defines for its agents, read from a folder."""

from .agents import Agent as Agent
from .agents import Soul as Soul
from .catalog import DEFAULT_AGENT as DEFAULT_AGENT
from .catalog import Catalog as Catalog
from .catalog import catalog_root as catalog_root
from .catalog import load_catalog as load_catalog
from .files import CatalogError as CatalogError
from .skills import Skill as Skill
from .tools import CatalogTool as CatalogTool
from .tools import McpRef as McpRef
