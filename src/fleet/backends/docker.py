"""Engines as Docker containers, on the local daemon or on the one that DOCKER_HOST names.

One container and one named volume for each Engine. The container is hardened: no root, no
capabilities, no new privileges, a read-only root. The seccomp profile is the one that lets
bubblewrap make its namespaces inside, and nothing of /proc is masked for the same reason.
"""

import io
import socket
import tarfile
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import trio

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
    PortTaken,
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

T = TypeVar("T")

_FLEET: Final = "september.fleet"
_ENGINE: Final = "september.engine"
_GENERATION: Final = "september.generation"
_DIGEST: Final = "september.digest"

_GRACE_S: Final = 3.0
"""What the daemon's own restart policy gets before a death is told."""

_TIMEOUT_S: Final = 60
_THREADS: Final = 20
_PORT_ERRORS: Final = ("port is already allocated", "address already in use")


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
        self._docker = await trio.to_thread.run_sync(_connect)
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
        feed, heard = trio.open_memory_channel[UUID](1000)
        stream = await self._call(self._events)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, stream, feed)
            try:
                async for engine_id in heard:
                    await trio.sleep(_GRACE_S)
                    down = await self.status(engine_id) is Presence.STOPPED
                    if down and engine_id not in self._expected:
                        yield Died(engine_id, "the container ended")
            finally:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(stream.close)
                nursery.cancel_scope.cancel()

    async def logs(self, engine_id: UUID, lines: int) -> str:
        """The end of what the container wrote."""

        def read() -> str:
            container = self._container(engine_id)
            raw: bytes = container.logs(tail=lines) if container is not None else b""
            return raw.decode(errors="replace")

        return await self._call(read)

    async def snapshot(self, engine_id: UUID, generation: int) -> str:
        """Copy the volume to another one, by a container of the same image."""
        name = f"{volume_name(engine_id)}-{generation}"
        await self._call(partial(self._copy, engine_id, volume_name(engine_id), name))
        return name

    async def restore(self, engine_id: UUID, generation: int, snapshot: str) -> None:
        """Copy it back."""
        await self._call(partial(self._copy, engine_id, snapshot, volume_name(engine_id)))

    async def export(self, engine_id: UUID, to: Path) -> None:
        """Copy the brain inside with SQLite's backup, and fetch the copy."""
        await self._call(partial(self._export, engine_id, to))

    async def _call(self, work: Callable[[], T]) -> T:
        """Run one piece of blocking work; what Docker raises comes out in our words."""
        return await trio.to_thread.run_sync(_explained, work, limiter=self._limit)

    def _make_network(self) -> None:
        name = self._settings.network
        if not self._docker.networks.list(names=[f"^{name}$"]):
            labels = {_FLEET: str(self._settings.fleet)}
            self._docker.networks.create(name, driver="bridge", labels=labels)

    def _create(self, spec: EngineSpec) -> Endpoint:
        there = self._fenced(spec.engine_id, spec.generation)
        if there is not None and there.labels.get(_DIGEST) != spec.digest:
            there.remove(force=True)
            there = None
        if there is None:
            self._have_image(spec.image)
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
        sdk = _sdk()
        try:
            self._docker.images.get(image)
        except sdk.errors.ImageNotFound:
            self._docker.images.pull(image)

    def _up(self, engine_id: UUID) -> Endpoint:
        container = self._container(engine_id)
        if container is None:
            raise NoInstance
        container.start()
        container.reload()
        bound = container.attrs["HostConfig"]["PortBindings"][f"{PORT}/tcp"][0]["HostPort"]
        url = f"http://127.0.0.1:{bound}"
        if self._is_on_the_network():
            url = f"http://{container_name(engine_id)}:{PORT}"
        return Endpoint(url, container.id)

    def _is_on_the_network(self) -> bool:
        """Whether we are a container on the Engines' network (contract, section 20.9)."""
        if self._by_name is None:
            sdk = _sdk()
            try:
                ourselves = self._docker.containers.get(socket.gethostname())
            except sdk.errors.NotFound:
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
        if container is not None:
            container.stop(timeout=round(within))

    def _destroy(self, engine_id: UUID, generation: int) -> None:
        sdk = _sdk()
        container = self._fenced(engine_id, generation)
        if container is not None:
            container.remove(force=True)
        for volume in self._docker.volumes.list(filters={"label": f"{_ENGINE}={engine_id}"}):
            with suppress(sdk.errors.NotFound):
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

    async def _pump(self, stream: Any, feed: trio.MemorySendChannel[UUID]) -> None:
        """Read events in a thread until the stream is closed; the daemon's end is ours, too."""

        def read(events: Iterator[Mapping[str, Any]]) -> Mapping[str, Any] | None:
            return _explained(lambda: next(events, None))

        with feed:
            while True:
                event = await trio.to_thread.run_sync(read, stream, abandon_on_cancel=True)
                if event is None:
                    raise BackendUnreachable("the daemon closed its stream of events")
                feed.send_nowait(UUID(event["Actor"]["Attributes"][_ENGINE]))

    def _copy(self, engine_id: UUID, source: str, target: str) -> None:
        """A new volume takes its owner from the image's /data, so the target is mounted there."""
        container = self._container(engine_id)
        if container is None:
            raise NoInstance
        self._docker.volumes.create(target, labels=self._labels(engine_id))
        script = "find /data -mindepth 1 -delete && cp -a /from/. /data/"
        self._docker.containers.run(
            container.attrs["Config"]["Image"],
            ["-c", script],
            entrypoint="/bin/sh",
            user=USER,
            volumes={source: {"bind": "/from", "mode": "ro"}, target: {"bind": "/data"}},
            network_mode="none",
            cap_drop=["ALL"],
            remove=True,
        )

    def _export(self, engine_id: UUID, to: Path) -> None:
        container = self._container(engine_id)
        if container is None:
            raise NoInstance
        code = (
            "import sqlite3; a = sqlite3.connect('/data/brain.sqlite');"
            " b = sqlite3.connect('/data/export.sqlite'); a.backup(b); b.close()"
        )
        done = container.exec_run(["python", "-c", code])
        if done.exit_code:
            raise BackendError(done.output.decode(errors="replace"))
        chunks, _ = container.get_archive("/data/export.sqlite")
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            member = archive.extractfile("export.sqlite")
            assert member is not None
            to.write_bytes(member.read())
        container.exec_run(["rm", "/data/export.sqlite"])

    def _container(self, engine_id: UUID) -> Any:
        sdk = _sdk()
        try:
            return self._docker.containers.get(container_name(engine_id))
        except sdk.errors.NotFound:
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


def _connect() -> Any:
    return _sdk().DockerClient.from_env(timeout=_TIMEOUT_S)


def _sdk() -> Any:
    import docker

    return docker


def _explained(work: Callable[[], T]) -> T:
    sdk = _sdk()
    import requests

    try:
        return work()
    except sdk.errors.APIError as error:
        said = str(error.explanation or error)
        taken = next((one for one in _PORT_ERRORS if one in said), None)
        if taken is not None:
            raise PortTaken(_port_in(said)) from error
        raise BackendError(said) from error
    except (sdk.errors.ContainerError, sdk.errors.ImageNotFound) as error:
        raise BackendError(str(error)) from error
    except sdk.errors.DockerException as error:
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


def _presence(state: str) -> Presence:
    """`restarting` is what the daemon does by itself: to us it runs."""
    return Presence.RUNNING if state in ("running", "restarting") else Presence.STOPPED
