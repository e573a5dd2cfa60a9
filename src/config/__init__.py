"""Settings: read once from the environment, checked, and then never changed."""

from .engine import SETTINGS as SETTINGS
from .engine import EngineConfig as EngineConfig
from .engine import hash_of as hash_of
from .engine import load_engine_config as load_engine_config
from .fleet import FLEET_SETTINGS as FLEET_SETTINGS
from .fleet import FleetConfig as FleetConfig
from .fleet import load_fleet_config as load_fleet_config
from .secret import Secret as Secret
from .setting import Setting as Setting
