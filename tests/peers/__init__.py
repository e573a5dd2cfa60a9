"""Peers: servers that speak the providers' real protocols, scripted by the test.

    async with anthropic_peer(script(Say("hi"))) as peer:
        provider = AnthropicProvider(Secret(peer.key), base_url=peer.base_url)

In another process: `python tests/peers/serve.py anthropic script.json` prints the base URL.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from .anthropic import AnthropicWire
from .gemini import GeminiWire
from .openai import OpenAIWire
from .script import Call as Call
from .script import ContextOverflow as ContextOverflow
from .script import Cut as Cut
from .script import End as End
from .script import Fail as Fail
from .script import Find as Find
from .script import HangUp as HangUp
from .script import Overloaded as Overloaded
from .script import Page as Page
from .script import Part as Part
from .script import Pause as Pause
from .script import RateLimit as RateLimit
from .script import Say as Say
from .script import Script as Script
from .script import Stall as Stall
from .script import Status as Status
from .script import Stop as Stop
from .script import Think as Think
from .script import Usage as Usage
from .script import Wait as Wait
from .script import dumps as dumps
from .script import loads as loads
from .script import script as script
from .server import Peer as Peer
from .server import running
from .wire import Received as Received
from .wire import Wire

KEY = "sk-peer-0123456789abcdef"
WIRES: dict[str, Callable[[str], Wire]] = {
    "anthropic": AnthropicWire,
    "openai": OpenAIWire,
    "gemini": GeminiWire,
}


def provider_peer(
    provider: str, script: Script, key: str = KEY
) -> AbstractAsyncContextManager[Peer]:
    """A peer of `provider` that serves while the block runs."""
    return running(WIRES[provider](key), script)


def anthropic_peer(script: Script, key: str = KEY) -> AbstractAsyncContextManager[Peer]:
    """An Anthropic peer."""
    return provider_peer("anthropic", script, key)


def openai_peer(script: Script, key: str = KEY) -> AbstractAsyncContextManager[Peer]:
    """An OpenAI peer."""
    return provider_peer("openai", script, key)


def gemini_peer(script: Script, key: str = KEY) -> AbstractAsyncContextManager[Peer]:
    """A Gemini peer."""
    return provider_peer("gemini", script, key)
