"""Errors that reach a caller: one code, one status, one place.

SeptemberError                 anything with a documented code
├ SchemaViolation              a value of the wrong type or out of its bounds
└ ConfigError                  a setting is missing or wrong; the boot stops

The Engine's envelope is flat: `{"error": code, "message": text, "details": {...}}`. That of the
orchestrator is nested: `{"error": {"code": code, "message": text, "details": {...}}}`.
"""

import re
from collections.abc import Mapping
from typing import Final

STATUS: Final[Mapping[str, int]] = {
    "INVALID_REQUEST": 400,
    "INVALID_KEY": 401,
    "KEY_ROTATION_PENDING": 401,
    "MCP_TOKEN_EXPIRED": 401,
    "PERMISSION_DENIED": 403,
    "TASK_NOT_FOUND": 404,
    "AGENT_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "HITL_REQUIRED": 409,
    "HITL_MISMATCH": 409,
    "SKILL_EXISTS": 409,
    "TASK_BUSY": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "CONTEXT_OVERFLOW": 422,
    "INVALID_SCHEMA": 422,
    "LLM_RATE_LIMITED": 429,
    "SLOTS_EXHAUSTED": 429,
    "INTERNAL": 500,
    "ITERATION_LIMIT": 500,
    "INTERRUPTED": 500,
    "LLM_PROVIDER_ERROR": 502,
    "MCP_CONNECTION_FAILED": 502,
    "BRAIN_BUSY": 503,
    "BRAIN_LOCKED": 503,
    "BRAIN_UNUSABLE": 503,
    "MIGRATION_REQUIRED": 503,
    "DRAINING": 503,
    "LLM_TIMEOUT": 504,
    "BRAIN_FULL": 507,
}
"""Error code to HTTP status (contract, sections 2.1 and 19.10)."""

FLEET_STATUS: Final[Mapping[str, int]] = {
    "INVALID_REQUEST": 400,
    "INVALID_PLATFORM_KEY": 401,
    "INVALID_ADMIN_KEY": 401,
    "POLICY_DENIED": 403,
    "PRODUCT_NOT_FOUND": 404,
    "ENGINE_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "PRODUCT_SLUG_EXISTS": 409,
    "ENGINE_ALREADY_EXISTS": 409,
    "ENGINE_ALREADY_RUNNING": 409,
    "ENGINE_NOT_RUNNING": 409,
    "ENGINE_BUSY": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "QUOTA_EXCEEDED": 429,
    "RATE_LIMITED": 429,
    "INTERNAL": 500,
    "BACKEND_ERROR": 502,
    "BACKEND_UNAVAILABLE": 503,
    "DATABASE_UNAVAILABLE": 503,
    "DRAINING": 503,
    "MIGRATION_REQUIRED": 503,
    "PORT_EXHAUSTION": 503,
    "BOOT_TIMEOUT": 504,
}
"""Error code to HTTP status in the orchestrator (contract, section 18.3)."""


class SeptemberError(Exception):
    """A refusal or failure with a documented code.

    `message` says what is wrong and what to do; `details` names fields and figures.
    `retry_after` is in seconds and becomes the Retry-After header.
    """

    def __init__(
        self,
        code: str,
        message: str,
        details: Mapping[str, object] | None = None,
        *,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = dict(details or {})
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status of this code; 500 for a code outside the table."""
        return STATUS.get(self.code) or FLEET_STATUS.get(self.code, 500)


class SchemaViolation(SeptemberError):
    """A well-formed request with a value of the wrong type or out of its bounds.

    The code is INVALID_REQUEST like that of a malformed one, the status 422 (contract, 2.1).
    """

    def __init__(self, message: str, details: Mapping[str, object] | None = None) -> None:
        super().__init__("INVALID_REQUEST", message, details)

    @property
    def status(self) -> int:
        return 422


class ConfigError(SeptemberError):
    """A setting is missing or wrong. The message names the variable and the remedy."""

    def __init__(self, variable: str, message: str) -> None:
        super().__init__("INVALID_CONFIG", f"{variable}: {message}", {"variable": variable})


_AT: Final = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<path>.*)`)?", re.DOTALL)
_STRAY: Final = re.compile(r"object (?:contains unknown|missing required) field `(.*)`")


def located(complaint: str) -> tuple[str, str, bool]:
    """A complaint of msgspec's: what is wrong, the field's path, and whether the field is stray.

    A stray field is missing or unknown, rather than of a wrong value.
    """
    found = _AT.fullmatch(complaint)
    assert found is not None, "the pattern fits every text"
    what, path = f"{found['what'][:1].lower()}{found['what'][1:]}", found["path"] or ""
    stray = _STRAY.search(what)
    if stray is None:
        return what, path, False
    return what, f"{path}.{stray[1]}" if path else stray[1], True
