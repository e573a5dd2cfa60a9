"""Where commands would connect to, judged against the network policy."""

import re
from collections.abc import Iterator
from typing import Final

from ...security.egress import NetworkPolicy
from ..concern import Concern
from . import tables
from .call import Call
from .networks import NETWORK, NetworkProgram
from .syntax import Objection
from .words import Word

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://(?:[^/@\s]*@)?(\[[0-9a-f:.]+\]|[^/:?#\s\"']*)", re.I)
_BARE: Final = re.compile(r"(?:[^/@\s]*@)?(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::\d+)?(?:[/?#].*)?", re.I)
_REMOTE: Final = re.compile(r"(?:[^/@:\s]+@)?([a-z0-9.-]+):(?!//)", re.I)


def check(call: Call, policy: NetworkPolicy) -> None:
    """Object to a host that is not allowed, or that is only known when it runs."""
    program = NETWORK.get(call.name)
    if program is None:
        for host in _in_code(call):
            _check_host(call, host, policy)
        return
    for word in call.args:
        if word.text is None:
            raise _unknown(call, word)
    hosts = {host for text in _destinations(call, program) for host in _hosts(text, program)}
    for host in sorted(hosts or program.usual):
        _check_host(call, host, policy)
    if not hosts and not program.usual and _connects(call, program):
        raise Objection(f"where {call.name} connects to is not to be seen", Concern.NETWORK)


def _check_host(call: Call, host: str, policy: NetworkPolicy) -> None:
    if not policy.permits(host):
        raise Objection(f"{call.name} connects to {host}, which is not allowed", Concern.NETWORK)


def _unknown(call: Call, word: Word) -> Objection:
    return Objection(
        f"{call.name} gets {word.shown}, only known when it runs; it may be a host", Concern.NETWORK
    )


def _connects(call: Call, program: NetworkProgram) -> bool:
    """Whether the words make it connect at all: `git status` does not."""
    subs = program.connecting
    first = next((word.text for word in call.operands()), None)
    return first in subs if subs else first is not None


def _destinations(call: Call, program: NetworkProgram) -> Iterator[str]:
    """The words that may name a host: all but options without a host and the options' values."""
    if program.connecting and not _connects(call, program):
        return
    skip = False
    for word in call.args:
        text = word.text or ""
        if skip:
            skip = False
        elif text in program.valued:
            skip = True
        elif not text.startswith("-") or "://" in text:
            yield text
            if program.single:
                return


def _hosts(text: str, program: NetworkProgram) -> Iterator[str]:
    urls = [match.group(1) for match in _URL.finditer(text)]
    remote, bare = _REMOTE.match(text), _BARE.fullmatch(text)
    if urls:
        yield from urls
    elif program.remote and remote is not None:
        yield remote.group(1)
    elif program.bare and bare is not None:
        yield bare.group(1)


def _in_code(call: Call) -> Iterator[str]:
    """Hosts of the URLs that stand in another language's program on the command line."""
    if call.name in tables.INTERPRETERS:
        for text in (*call.literals(), *(text or "" for text in call.texts)):
            yield from (match.group(1) for match in _URL.finditer(text))
