"""What the orchestrator says no with, each in one place."""

from typing import Final

from ..errors import FLEET_STATUS, SeptemberError
from .instances import Engine, Operation, Status

QUOTA_RETRY_S: Final = 60.0
"""When to ask again after a quota was full, in seconds: a guess, but 429 has to say something."""


def not_found() -> SeptemberError:
    """The user has no Engine."""
    return SeptemberError("ENGINE_NOT_FOUND", "this user has no Engine; provision one")


def already_exists() -> SeptemberError:
    """The user has an Engine."""
    return SeptemberError("ENGINE_ALREADY_EXISTS", "this user has an Engine; admit the user to it")


def busy() -> SeptemberError:
    """Another orchestrator does something to the Engine."""
    return SeptemberError(
        "ENGINE_BUSY", "something else is being done to this Engine; try again", retry_after=1.0
    )


def no_move(current: Engine, operation: Operation) -> SeptemberError:
    """There is no such operation from the state that the Engine is in."""
    if current.status is Status.DESTROYING:
        return not_found()
    details = {"status": current.status, "operation": operation}
    if current.status is Status.RUNNING:
        return SeptemberError("ENGINE_ALREADY_RUNNING", "the Engine runs already", details)
    return SeptemberError(
        "ENGINE_NOT_RUNNING", f"the Engine is {current.status}; start it first", details
    )


def rate_limited(wait: float) -> SeptemberError:
    """The product admits too often; `wait` is in seconds."""
    seconds = max(1, -int(-wait // 1))
    return SeptemberError(
        "RATE_LIMITED",
        f"Rate limit exceeded. Retry in {seconds} seconds.",
        retry_after=float(seconds),
    )


def quota_exceeded(limit: int) -> SeptemberError:
    """The product has as many Engines as it may have."""
    return SeptemberError(
        "QUOTA_EXCEEDED",
        f"Product at max_engines limit ({limit}).",
        {"max_engines": limit},
        retry_after=QUOTA_RETRY_S,
    )


def image_denied(image: str) -> SeptemberError:
    """The image is not one that a provision may ask for (contract, section 20.3)."""
    return SeptemberError(
        "POLICY_DENIED",
        f"engine_version: {image!r} is not allowed; leave it out, or have ORCH_ENGINE_IMAGE_ALLOW"
        " name it",
        {"engine_version": image},
    )


def backend_unavailable(why: str) -> SeptemberError:
    """The backend does not answer; what was asked for is not forgotten."""
    return SeptemberError(
        "BACKEND_UNAVAILABLE",
        f"the backend does not answer ({why}); it goes on as soon as it does",
        retry_after=5.0,
    )


def backend_refused(why: str) -> SeptemberError:
    """The backend could not do it."""
    return SeptemberError("BACKEND_ERROR", f"the backend refused: {why}")


def actor_failed() -> SeptemberError:
    """What was done to the Engine hit a fault of ours."""
    return SeptemberError(
        "INTERNAL", "this Engine could not be seen to; the log and GET /traces/why say why"
    )


def boot_timeout(seconds: float) -> SeptemberError:
    """The Engine did not become healthy in time."""
    return SeptemberError(
        "BOOT_TIMEOUT", f"the Engine was not healthy within {seconds:g} s; see its logs"
    )


def failed(engine: Engine) -> SeptemberError:
    """The Engine is not well, for the reason that its row keeps."""
    code, _, message = (engine.failure or "").partition(": ")
    if code in FLEET_STATUS:
        return SeptemberError(code, message)
    return backend_refused(engine.failure or "the Engine is not well")
