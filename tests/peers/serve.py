"""A peer as a process of its own: `python tests/peers/serve.py PROVIDER SCRIPT.json [PORT [KEY]]`.

Prints its base URL as the first line, then serves until it is killed. The script's JSON is what
`peers.dumps` writes; `/_peer/requests`, `/_peer/release/<gate>` and `/_peer/script` control it
from outside.
"""

import sys
from pathlib import Path

# This folder holds modules named like the SDKs: the tests' parent goes on the path in its place.
sys.path[0] = str(Path(__file__).resolve().parents[2])

import trio  # noqa: E402 - the path comes first

from tests.peers import KEY, WIRES, Peer, Script, loads  # noqa: E402 - as above


async def serve(provider: str, script: Script, port: int, key: str) -> None:
    """Serve `script` until cancelled; port 0 takes a free one."""
    peer = Peer(WIRES[provider](key), script)
    peer.port = port
    async with trio.open_nursery() as nursery:
        await nursery.start(peer.serve)
        sys.stdout.write(f"{peer.base_url}\n")
        sys.stdout.flush()


def main(provider: str, script: str, port: str = "0", key: str = KEY) -> None:
    """Run the server until SIGTERM or SIGINT."""
    trio.run(serve, provider, loads(Path(script).read_bytes()), int(port), key)


if __name__ == "__main__":
    main(*sys.argv[1:])
