"""What may be connected: the catalog's servers, and those that a call defines."""

import json
from pathlib import Path

import pytest

from september.brain.assets.definitions import ServerDefinition, configured, load_servers
from september.brain.catalog import CatalogError
from september.brain.channels.events import JsonObject
from september.errors import SeptemberError

KNOWN = ServerDefinition(name="known", transport="stdio", command="server", args=("a",))


def test_a_call_defines_a_server_by_its_command_or_url() -> None:
    definition, secrets = configured("mine", None, {"command": "server", "env": {"A": "secret"}})
    assert (definition.name, definition.transport) == ("mine", "stdio")
    assert secrets.values == ("secret",)
    assert "secret" not in repr(secrets)
    for url, transport in (("https://a.example/mcp", "http"), ("wss://a.example", "websocket")):
        assert configured("mine", None, {"url": url})[0].transport == transport


def test_a_call_may_set_only_its_own_part_of_a_known_server() -> None:
    definition, _ = configured("known", KNOWN, {"args": ["b"], "timeout_s": 5})
    assert (definition.command, definition.args, definition.timeout_s) == ("server", ("b",), 5)
    with pytest.raises(SeptemberError, match="command"):
        configured("known", KNOWN, {"command": "evil"})


WRONG: dict[str, tuple[JsonObject | None, str]] = {
    "nothing is known": (None, "no server"),
    "a folder of the host": ({"command": "x", "readable": ["/"]}, "readable"),
    "an unknown field": ({"command": "x", "comand": "y"}, "comand"),
    "no url": ({"transport": "http"}, "url"),
    "a url with credentials": ({"url": "https://u:p@a.example"}, "credentials"),
    "a file": ({"transport": "http", "url": "file:///etc/passwd"}, "http"),
    "a key in the clear": (
        {"url": "http://a.example", "auth_method": "static", "api_key": "k"},
        "TLS",
    ),
    "a missing key": ({"url": "https://a.example", "auth_method": "static"}, "api_key"),
    "oauth over stdio": ({"command": "x", "auth_method": "oauth"}, "oauth"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_configuration_is_refused_with_its_reason(case: str) -> None:
    config, reason = WRONG[case]
    with pytest.raises(SeptemberError, match=reason) as refused:
        configured("mine", None, config)
    assert refused.value.code == "INVALID_REQUEST"


def test_a_call_opens_no_folder_outside_the_allowed_ones(tmp_path: Path) -> None:
    allowed, outside = tmp_path / "allowed", tmp_path / "outside"
    (allowed / "inner").mkdir(parents=True)
    outside.mkdir()
    (allowed / "link").symlink_to(outside)
    for root in (allowed, allowed / "inner"):
        configured("known", KNOWN, {"roots": [str(root)]}, [allowed])
    for root in (outside, tmp_path, allowed / "link", allowed / ".." / "outside", Path("/")):
        with pytest.raises(SeptemberError, match="ALLOWED_ROOTS"):
            configured("known", KNOWN, {"roots": [str(root)]}, [allowed])


BROKEN: list[tuple[JsonObject, str, str]] = [
    ({"name": "bad", "transport": "stdio"}, "command", "needs a command"),
    ({"name": "bad", "transport": "pipe"}, "transport", "pipe"),
    ({"name": "bad", "transport": "http", "url": "ftp://a.example"}, "url", "https://"),
    ({"name": "bad", "transport": "stdio", "command": "x", "agrs": []}, "agrs", "unknown field"),
    ({"name": "other", "transport": "stdio", "command": "x"}, "name", "make them equal"),
]


@pytest.mark.parametrize(("definition", "field", "words"), BROKEN)
def test_a_broken_server_of_the_catalog_is_refused_by_file_and_field(
    tmp_path: Path, definition: JsonObject, field: str, words: str
) -> None:
    file = tmp_path / "bad.json"
    file.write_text(json.dumps(definition))
    with pytest.raises(CatalogError) as refused:
        load_servers(tmp_path)
    assert refused.value.details["file"] == str(file)
    assert refused.value.details["field"] == field
    assert words in refused.value.message
