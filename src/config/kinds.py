"""Kinds of setting: how the text of a variable becomes a value, and what the text must be."""

import base64
import binascii
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar
from urllib.parse import urlsplit

from .secret import Secret

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T_co]):
    """`takes` is the kind in words; `parse` raises ValueError saying what the text must be.

    A `secret` value is never shown. With `empty_is_unset` an empty text counts as no text, as
    `VARIABLE=` in a compose file means; otherwise it is parsed like any other.
    """

    takes: str
    parse: Callable[[str], T_co]
    secret: bool = False
    empty_is_unset: bool = True


def number(least: int) -> Kind[int]:
    """Whole numbers of at least `least`."""

    def parse(text: str) -> int:
        if not text.isascii() or not text.isdecimal() or int(text) < least:
            raise ValueError(f"must be a whole number, at least {least}")
        return int(text)

    return Kind("whole number", parse)


def choice(*allowed: T) -> Kind[T]:
    """One of `allowed`, in any letter case."""

    def parse(text: str) -> T:
        for option in allowed:
            if str(option).lower() == text.lower():
                return option
        raise ValueError(f"must be one of {', '.join(map(str, allowed))}")

    return Kind(" | ".join(map(str, allowed)), parse)


def _parse_flag(text: str) -> bool:
    match text.lower():
        case "true":
            return True
        case "false":
            return False
        case _:
            raise ValueError('must be "true" or "false"')


def _parse_port(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > 65535:
        raise ValueError("must be a port: 1 to 65535, or 0 for any free one")
    return int(text)


def _parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return -1.0  # which every caller refuses


def _parse_seconds(text: str) -> float:
    seconds = _parse_float(text)
    if not 0 < seconds < 1e9:
        raise ValueError("must be a number of seconds above 0")
    return seconds


def _parse_share(text: str) -> float:
    share = _parse_float(text)
    if not 0 < share <= 1:
        raise ValueError("must be a share above 0 and at most 1, such as 0.8")
    return share


def _parse_path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _parse_list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _parse_paths(text: str) -> tuple[Path, ...]:
    paths = tuple(Path(part).expanduser() for part in _parse_list(text))
    if not all(path.is_absolute() for path in paths):
        raise ValueError("must be absolute paths, separated by commas")
    return paths


def _parse_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ValueError("must be an address that starts with http:// or https://")
    return text.rstrip("/")


def _parse_key_hash(text: str) -> Secret:
    if len(text) != 64 or not set(text.lower()) <= set("0123456789abcdef"):
        raise ValueError("must be the SHA-256 of the key, as 64 hex digits")
    return Secret(text.lower())


def _parse_fernet_keys(text: str) -> Secret:
    """One key, or several for rotation: the newest first."""
    if not all(_is_fernet_key(key) for key in text.split(",")):
        raise ValueError("must be Fernet keys, by comma: 32 random bytes in URL-safe base64 each")
    return Secret(text)


def _is_fernet_key(text: str) -> bool:
    try:
        return len(base64.urlsafe_b64decode(text.strip().encode())) == 32
    except (binascii.Error, ValueError):
        return False


TEXT: Final = Kind("text", str)
SECRET: Final = Kind("secret", Secret, secret=True)
KEY_HASH: Final = Kind("64 hex digits", _parse_key_hash, secret=True)
FERNET_KEY: Final = Kind("Fernet keys, comma", _parse_fernet_keys, secret=True)
FLAG: Final = Kind("true | false", _parse_flag, empty_is_unset=False)
PORT: Final = Kind("port", _parse_port)
SECONDS: Final = Kind("seconds", _parse_seconds)
SHARE: Final = Kind("0 to 1", _parse_share)
PATH: Final = Kind("path", _parse_path)
PATHS: Final = Kind("absolute paths, comma", _parse_paths)
LIST: Final = Kind("list, comma", _parse_list)
URL: Final = Kind("URL", _parse_url)
