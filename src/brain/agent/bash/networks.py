"""Commands that connect to other machines, as data."""

from typing import Final

from msgspec import Struct


class NetworkProgram(Struct, frozen=True):
    """A command that connects to hosts which its words name.

    `bare`: a word may be a host without a scheme; `remote`: `host:path` may stand there; `single`:
    only the first word is one, behind it stands a command.
    `connecting` are the sub-commands that connect, if there are others. `usual` are the hosts it
    connects to when no word names one. `valued` are options whose value is no host.
    """

    bare: bool = False
    remote: bool = False
    single: bool = False
    connecting: frozenset[str] = frozenset()
    usual: frozenset[str] = frozenset()
    valued: frozenset[str] = frozenset()


def _network(
    *,
    bare: bool = False,
    remote: bool = False,
    single: bool = False,
    connecting: str = "",
    usual: str = "",
    valued: str = "",
) -> NetworkProgram:
    lists = (frozenset(words.split()) for words in (connecting, usual, valued))
    return NetworkProgram(bare, remote, single, *lists)


_PYPI: Final = "pypi.org files.pythonhosted.org"
_NPM: Final = "registry.npmjs.org"

NETWORK: Final[dict[str, NetworkProgram]] = {
    "curl": _network(
        bare=True,
        valued="-o --output -H --header -d --data --data-raw --data-binary --data-urlencode -X"
        " --request -u --user -A --user-agent -e --referer -b --cookie -c --cookie-jar -T -F --form"
        " --upload-file -w --write-out -m --max-time --connect-timeout --retry -D --dump-header"
        " --cacert",
    ),
    "wget": _network(
        bare=True, valued="-O --output-document -o -a -P -U --user-agent --header -T -t --post-data"
    ),
    **dict.fromkeys(("http", "https", "xh"), _network(bare=True)),
    **dict.fromkeys(
        ("ping", "dig", "host", "nslookup", "whois", "traceroute", "ftp", "aria2c", "nmap"),
        _network(bare=True),
    ),
    **dict.fromkeys(
        ("ssh", "sftp", "mosh"), _network(bare=True, remote=True, single=True, valued="-i -p -P -l")
    ),
    **dict.fromkeys(("scp", "rsync"), _network(remote=True)),
    "git": _network(remote=True, connecting="clone fetch pull push ls-remote submodule remote"),
    **dict.fromkeys(
        ("pip", "pip3", "uv", "pipx", "poetry"),
        _network(connecting="install download wheel add sync lock run", usual=_PYPI),
    ),
    **dict.fromkeys(
        ("npm", "npx", "pnpm", "yarn", "bun"),
        _network(connecting="install i ci add update publish create dlx exec", usual=_NPM),
    ),
    "cargo": _network(connecting="install add fetch update publish", usual="crates.io"),
    "go": _network(connecting="get install mod", usual="proxy.golang.org"),
    "gem": _network(connecting="install update push", usual="rubygems.org"),
    **dict.fromkeys(
        ("apt", "apt-get"), _network(connecting="install update upgrade", usual="deb.debian.org")
    ),
}
"""Commands that connect. What others do with the network cannot be seen before they run."""
