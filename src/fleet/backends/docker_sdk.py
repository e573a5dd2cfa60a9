"""The Docker SDK: loaded only when it is used, and its errors in the backend's words."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from .backend import BackendError, BackendUnreachable, PortTaken

T = TypeVar("T")

_TIMEOUT_S: Final = 60
_PORT_ERRORS: Final = ("port is already allocated", "address already in use")


def connect() -> Any:
    """A client of the daemon that DOCKER_HOST names, or of the local one."""
    return sdk().DockerClient.from_env(timeout=_TIMEOUT_S)


def sdk() -> Any:
    """The SDK's package."""
    import docker

    return docker


def explained(work: Callable[[], T]) -> T:
    """Do a piece of work; what Docker or the way to it raises comes out in our words.

    Raises PortTaken, BackendError, BackendUnreachable.
    """
    import requests

    errors = sdk().errors

    try:
        return work()
    except errors.APIError as error:
        said = str(error.explanation or error)
        taken = next((one for one in _PORT_ERRORS if one in said), None)
        if taken is not None:
            raise PortTaken(_port_in(said)) from error
        raise BackendError(said) from error
    except (errors.ContainerError, errors.ImageNotFound) as error:
        raise BackendError(str(error)) from error
    except errors.DockerException as error:
        raise BackendUnreachable(str(error)) from error
    except (requests.exceptions.RequestException, OSError) as error:
        raise BackendUnreachable(f"{type(error).__name__}: {error}") from error


def _port_in(said: str) -> int:
    """The port that Docker's complaint names: `Bind for 127.0.0.1:9001 failed: …`."""
    for word in said.replace(",", " ").split():
        tail = word.rstrip(".:").rpartition(":")[2]
        if tail.isdecimal() and 0 < int(tail) < 65536:
            return int(tail)
    return 0
