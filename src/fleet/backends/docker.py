"""Engines as Docker containers, on the local daemon or on the one that DOCKER_HOST names.

One container and one named volume for each Engine. The container is hardened: no root, no
capabilities, no new privileges, a read-only root. The seccomp profile is the one that lets
bubblewrap make its namespaces inside, and nothing of /proc is masked for the same reason.
"""

import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar
from uuid import UUID

import trio

from . import volumes
from .backend import (
    Backend,
    BackendError,
    BackendUnreachable,
    Died,
    Endpoint,
    EngineSpec,
    Fenced,
    Instance,
    NoInstance,
    Presence,
)
from .container import (
    PORT,
    UNMASKED,
    USER,
    DockerSettings,
    container_name,
    environment,
    host_options,
    volume_name,
)
from .docker_sdk import connect, explained, sdk

T = TypeVar("T")

_FLEET: Final = "september.fleet"
_ENGINE: Final = "september.engine"
_GENERATION: Final = "september.generation"
_DIGEST: Final = "september.digest"

_GRACE_S: Final = 3.0
"""What the daemon's own restart policy gets before a death is told."""

_THREADS: Final = 20


@dataclass(frozen=True, slots=True)
class _Death:
    """A container ended; from `look_at` on, in trio's time, that is for good or not."""

    engine_id: UUID
    look_at: float


class DockerBackend(Backend):
    """The verbs on a Docker daemon; each call runs in a thread."""

    def __init__(self, settings: DockerSettings) -> None:
        self._settings = settings
        self._limit = trio.CapacityLimiter(_THREADS)
        self._docker: Any = None  # docker.DockerClient: the SDK is loaded late
        self._expected: set[UUID] = set()
        self._by_name = settings.by_name

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """Connect, and have the network."""
        self._docker = await trio.to_thread.run_sync(connect)
        try:
            with suppress(BackendUnreachable):  # an operation will say so, and be carried on
                await self._call(self._make_network)
            yield
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._docker.close)

    async def create(self, spec: EngineSpec) -> Endpoint:
        """Have volume and container; one of another spec is replaced."""
        self._expected.add(spec.engine_id)
        endpoint = await self._call(partial(self._create, spec))
        self._expected.discard(spec.engine_id)
        return endpoint

    async def start(self, engine_id: UUID, generation: int) -> Endpoint:
        """Start the container."""
        endpoint = await self._call(partial(self._start, engine_id, generation))
        self._expected.discard(engine_id)
        return endpoint

    async def stop(self, engine_id: UUID, generation: int, within: float = 30.0) -> None:
        """Stop the container: SIGTERM, then SIGKILL."""
        self._expected.add(engine_id)
        await self._call(partial(self._stop, engine_id, generation, within))

    async def destroy(self, engine_id: UUID, generation: int) -> None:
        """Remove container and volume."""
        self._expected.add(engine_id)
        await self._call(partial(self._destroy, engine_id, generation))

    async def status(self, engine_id: UUID) -> Presence:
        """Inspect the container."""
        return await self._call(partial(self._status, engine_id))

    async def list(self) -> tuple[Instance, ...]:
        """Every container and every volume of this fleet."""
        return await self._call(self._list)

    async def watch(self) -> AsyncGenerator[Died]:
        """Follow the daemon's events; a container that its policy brings back has not died."""
        feed, heard = trio.open_memory_channel[_Death](inf)
        stream = await self._call(self._events)
        reading = partial(_read, stream, feed, trio.lowlevel.current_trio_token())
        Thread(target=reading, name="docker events", daemon=True).start()
        try:
            async for death in heard:
                await trio.sleep_until(death.look_at)
                words = await self._call(partial(self._last_words, death.engine_id))
                if words is not None and death.engine_id not in self._expected:
                    yield Died(death.engine_id, words)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(stream.close)
        raise BackendUnreachable("the daemon ended its stream of events")

    async def logs(self, engine_id: UUID, lines: int) -> str:
        """The end of what the container wrote."""

        def read() -> str:
            container = self._container(engine_id)
            raw: bytes = container.logs(tail=lines) if container is not None else b""
            return raw.decode(errors="replace")

        return await self._call(read)

    async def snapshot(self, engine_id: UUID, generation: int) -> str:
        """Copy the volume to another one."""
        name = f"{volume_name(engine_id)}-{generation}"
        await self._call(partial(self._copy, engine_id, volume_name(engine_id), name))
        return name

    async def restore(self, engine_id: UUID, generation: int, snapshot: str) -> None:
        """Copy it back."""
        await self._call(partial(self._copy, engine_id, snapshot, volume_name(engine_id)))

    async def export(self, engine_id: UUID, to: Path) -> None:
        """Copy the brain with SQLite's backup, and fetch the copy."""
        await self._call(partial(self._read_brain, engine_id, to))

    async def replace_brain(self, engine_id: UUID, generation: int, brain: Path) -> None:
        """Send the file into the volume."""
        await self._call(partial(self._write_brain, engine_id, generation, brain))

    async def _call(self, work: Callable[[], T]) -> T:
        """Run one piece of blocking work; what Docker raises comes out in our words."""
        return await trio.to_thread.run_sync(explained, work, limiter=self._limit)

    def _make_network(self) -> None:
        name = self._settings.network
        if not self._docker.networks.list(names=[f"^{name}$"]):
            labels = {_FLEET: str(self._settings.fleet)}
            self._docker.networks.create(name, driver="bridge", labels=labels)

    def _create(self, spec: EngineSpec) -> Endpoint:
        there = self._fenced(spec.engine_id, spec.generation)
        if there is None or there.labels.get(_DIGEST) != spec.digest:
            self._have_image(spec.image)  # first, so that what is there stays if it cannot be had
            if there is not None:
                there.remove(force=True)
            self._make_network()
            labels = self._labels(spec.engine_id)
            self._docker.volumes.create(volume_name(spec.engine_id), labels=labels)
            self._make(spec)
        return self._up(spec.engine_id)

    def _make(self, spec: EngineSpec) -> None:
        api, options = self._docker.api, host_options(self._settings, spec)
        api.create_container(
            spec.image,
            name=container_name(spec.engine_id),
            hostname=container_name(spec.engine_id),
            user=USER,
            environment=environment(self._settings, spec),
            labels={
                **self._labels(spec.engine_id),
                _GENERATION: str(spec.generation),
                _DIGEST: spec.digest,
            },
            ports=[PORT],
            volumes=["/data"],
            host_config={**api.create_host_config(**options), **UNMASKED},
            networking_config=api.create_networking_config(
                {self._settings.network: api.create_endpoint_config()}
            ),
        )

    def _have_image(self, image: str) -> None:
        errors = sdk().errors
        try:
            self._docker.images.get(image)
        except errors.ImageNotFound:
            self._pull(image)

    def _pull(self, image: str) -> None:
        errors = sdk().errors
        try:
            self._docker.images.pull(image)
        except errors.APIError as error:
            said = f"{image!r} is not on the daemon's host and cannot be pulled"
            remedy = "build it there, push it to a registry, or name another image"
            raise BackendError(f"{said} ({error.explanation}); {remedy}") from error

    def _up(self, engine_id: UUID) -> Endpoint:
        container = self._container(engine_id)
        if container is None:
            raise NoInstance
        if container.status == "paused":
            container.unpause()
        container.start()
        bound = container.attrs["HostConfig"]["PortBindings"][f"{PORT}/tcp"][0]
        url = f"http://{bound['HostIp']}:{bound['HostPort']}"
        if self._is_on_the_network():
            url = f"http://{container_name(engine_id)}:{PORT}"
        return Endpoint(url, container.id)

    def _is_on_the_network(self) -> bool:
        """Whether we are a container on the Engines' network (contract, section 20.9)."""
        if self._by_name is None:
            errors = sdk().errors
            try:
                ourselves = self._docker.containers.get(socket.gethostname())
            except errors.NotFound:
                self._by_name = False
            else:
                networks = ourselves.attrs["NetworkSettings"]["Networks"]
                self._by_name = self._settings.network in networks
        return self._by_name

    def _start(self, engine_id: UUID, generation: int) -> Endpoint:
        if self._fenced(engine_id, generation) is None:
            raise NoInstance
        return self._up(engine_id)

    def _stop(self, engine_id: UUID, generation: int, within: float) -> None:
        container = self._fenced(engine_id, generation)
        if container is None:
            return
        if container.status == "paused":  # what is paused hears no signal
            container.unpause()
        container.stop(timeout=round(within))

    def _destroy(self, engine_id: UUID, generation: int) -> None:
        errors = sdk().errors
        container = self._fenced(engine_id, generation)
        if container is not None:
            container.remove(force=True)
        for volume in self._docker.volumes.list(filters={"label": f"{_ENGINE}={engine_id}"}):
            with suppress(errors.NotFound):
                volume.remove(force=True)

    def _status(self, engine_id: UUID) -> Presence:
        container = self._container(engine_id)
        return Presence.ABSENT if container is None else _presence(container.status)

    def _list(self) -> tuple[Instance, ...]:
        label = {"label": f"{_FLEET}={self._settings.fleet}"}
        found = {
            UUID(volume.attrs["Labels"][_ENGINE]): Presence.ABSENT
            for volume in self._docker.volumes.list(filters=label)
        }
        generations: dict[UUID, int] = {}
        for row in self._docker.api.containers(all=True, filters=label):
            engine_id = UUID(row["Labels"][_ENGINE])
            found[engine_id] = _presence(row["State"])
            generations[engine_id] = int(row["Labels"][_GENERATION])
        return tuple(
            Instance(engine_id, presence, generations.get(engine_id, 0))
            for engine_id, presence in found.items()
        )

    def _events(self) -> Any:
        filters = {"type": "container", "event": "die", "label": self._fleet_label()}
        return self._docker.events(decode=True, filters=filters)

    def _fleet_label(self) -> str:
        return f"{_FLEET}={self._settings.fleet}"

    def _last_words(self, engine_id: UUID) -> str | None:
        """Why a container is down; None if it is not."""
        container = self._container(engine_id)
        if container is None or _presence(container.status) is Presence.RUNNING:
            return None
        state = container.attrs["State"]
        why = ", out of memory" if state.get("OOMKilled") else ""
        return f"the container ended with exit code {state.get('ExitCode')}{why}"

    def _copy(self, engine_id: UUID, source: str, target: str) -> None:
        self._docker.volumes.create(target, labels=self._labels(engine_id))
        volumes.copy(self._docker, self._own_image(), source, target)

    def _read_brain(self, engine_id: UUID, to: Path) -> None:
        volumes.read_brain(self._docker, self._own_image(), volume_name(engine_id), to)

    def _write_brain(self, engine_id: UUID, generation: int, brain: Path) -> None:
        self._fenced(engine_id, generation)
        volumes.write_brain(self._docker, self._own_image(), volume_name(engine_id), brain)

    def _own_image(self) -> str:
        """The configured one, whatever the Engine has: that may be a bad one."""
        self._have_image(self._settings.image)
        return self._settings.image

    def _container(self, engine_id: UUID) -> Any:
        errors = sdk().errors
        try:
            return self._docker.containers.get(container_name(engine_id))
        except errors.NotFound:
            return None

    def _fenced(self, engine_id: UUID, generation: int) -> Any:
        """The container, unless it was made for a newer generation. Docker itself has no fence:
        between this look and the deed, only the row's generation protects."""
        container = self._container(engine_id)
        if container is not None and int(container.labels.get(_GENERATION, 0)) > generation:
            raise Fenced(f"the container is newer than generation {generation}")
        return container

    def _labels(self, engine_id: UUID) -> dict[str, str]:
        return {_FLEET: str(self._settings.fleet), _ENGINE: str(engine_id)}


def _read(
    stream: Any, feed: trio.MemorySendChannel[_Death], token: trio.lowlevel.TrioToken
) -> None:
    """Read events, in a thread of its own, until the stream is closed by us or by the daemon."""

    def tell(event: Mapping[str, Any]) -> None:
        with suppress(trio.BrokenResourceError):  # nobody listens any more
            engine_id = UUID(event["Actor"]["Attributes"][_ENGINE])
            feed.send_nowait(_Death(engine_id, trio.current_time() + _GRACE_S))

    with suppress(trio.RunFinishedError):
        with suppress(Exception):  # what ends a stream of HTTP is never one kind of error
            for event in stream:
                token.run_sync_soon(tell, event)
        token.run_sync_soon(feed.close)


def _presence(state: str) -> Presence:
    """`restarting` is what the daemon does by itself: to us it runs."""
    return Presence.RUNNING if state in ("running", "restarting") else Presence.STOPPED
