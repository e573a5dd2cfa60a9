"""The vault: credentials as Fernet text, sealed with the newest key and opened with any."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from ...config import Secret
from ...errors import SeptemberError

T = TypeVar("T")

_HINT: Final = (
    "set AD_ENCRYPTION_KEY to a Fernet key (32 random bytes in URL-safe base64) and start again"
)


class Vault:
    """Seals and opens. `keys` is a comma list of Fernet keys, the newest first."""

    def __init__(self, keys: Secret | None, learn: Callable[[tuple[str, ...]], None]) -> None:
        """`learn` is told every secret that is opened or sealed, so that it can be scrubbed."""
        self._keys = keys
        self._learn = learn
        self._fernets: Any = None

    def require(self) -> None:
        """Raise INVALID_REQUEST when there is no key to seal with."""
        if self._keys is None:
            raise SeptemberError("INVALID_REQUEST", f"credentials cannot be stored: {_HINT}")

    def seal(self, value: object, secrets: tuple[str, ...]) -> bytes:
        """Encrypt a struct as JSON. `secrets` are the values in it that must never be seen."""
        self.require()
        self._learn(secrets)
        sealed: bytes = self._all()[0].encrypt(msgspec.json.encode(value))
        return sealed

    def open(self, sealed: bytes, kind: type[T]) -> T:
        """Decrypt. Raises MCP_TOKEN_EXPIRED when no key opens it: it must be given again."""
        from cryptography.fernet import InvalidToken, MultiFernet

        try:
            if self._keys is None:
                raise InvalidToken
            plain = MultiFernet(self._all()).decrypt(sealed)
        except InvalidToken as error:
            raise SeptemberError(
                "MCP_TOKEN_EXPIRED",
                "the stored credential opens with none of the keys in AD_ENCRYPTION_KEY; put the"
                " old key back behind the new one, or connect again with POST /assets/connect",
            ) from error
        value = msgspec.json.decode(plain, type=kind)
        self._learn(tuple(getattr(value, "secrets", ())))
        return value

    def is_current(self, sealed: bytes) -> bool:
        """Whether the newest key opens it; else it should be sealed again."""
        from cryptography.fernet import InvalidToken

        if self._keys is None:
            return True  # there is none to seal it with
        try:
            self._all()[0].decrypt(sealed)
        except InvalidToken:
            return False
        return True

    def _all(self) -> Any:
        from cryptography.fernet import Fernet

        if self._fernets is None:
            assert self._keys is not None
            self._fernets = [Fernet(key.strip()) for key in self._keys.reveal().split(",")]
        return self._fernets
