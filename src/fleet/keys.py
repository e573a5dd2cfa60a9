"""Keys of products and Engines: made, hashed, and sealed so that they can be given out again."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from ..config import Secret
from ..errors import ConfigError

PLATFORM_PREFIX: Final = "pk-sept-"
ENGINE_PREFIX: Final = "sk-sept-"
_RANDOM_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class SealedKey:
    """An Engine's key as the registry keeps it: its SHA-256, and itself encrypted."""

    hash: str
    sealed: str


def new_platform_key() -> Secret:
    """A key for a product; it is shown once."""
    return Secret(PLATFORM_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES))


def sha256_of(key: str) -> str:
    """The hash by which a key is recognised, in hex."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


def same(given: str, expected: Secret) -> bool:
    """Compare in a time that tells nothing."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected.reveal().encode())


class Vault:
    """Seals Engine keys with the newest master key; opens what any of them has sealed."""

    def __init__(self, master_keys: Sequence[str]) -> None:
        self._fernet = MultiFernet([Fernet(key) for key in master_keys])

    def new_engine_key(self) -> SealedKey:
        """A key for an Engine, sealed."""
        key = ENGINE_PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        return SealedKey(sha256_of(key), self._fernet.encrypt(key.encode()).decode())

    def open(self, sealed: str) -> str:
        """The key itself. Raises ConfigError if no master key fits."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken as error:
            raise _no_key() from error

    def reseal(self, sealed: str) -> str:
        """The same key under the newest master key. Raises ConfigError if none fits."""
        try:
            return self._fernet.rotate(sealed.encode()).decode()
        except InvalidToken as error:
            raise _no_key() from error


def _no_key() -> ConfigError:
    return ConfigError(
        "ORCH_MASTER_KEY",
        "does not open the Engines' keys; set it to the key they were sealed with, or to a list"
        " that ends with it",
    )
