"""Rolling upgrades: a few Engines first, and the others only if those got well."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import click
import trio
from msgspec import Struct

from ..errors import SeptemberError
from .fleet_client import FleetClient, Row


class Upgraded(Struct):
    """What became of one upgrade."""

    engine_id: str
    engine_version: str
    upgraded: bool
    status: str


@dataclass(frozen=True, slots=True)
class Rollout:
    """Takes Engines to `image`, `at_once` of them at a time."""

    client: FleetClient
    image: str
    at_once: int

    async def run(self, rows: Sequence[Row], canary: float) -> int:
        """Upgrade the share `canary` and then the rest; returns how many did not get there.

        The rest is not touched when one of the canaries did not.
        """
        first = ceil(len(rows) * canary)
        failed = await self._all(rows[:first])
        if failed:
            click.echo(f"{failed} of {first} canaries went back; the rest is not touched", err=True)
            return failed
        return await self._all(rows[first:])

    async def _all(self, rows: Sequence[Row]) -> int:
        limit, results = trio.CapacityLimiter(self.at_once), list[bool]()

        async def one(row: Row) -> None:
            results.append(await trio.to_thread.run_sync(self._one, row, limiter=limit))

        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(one, row)
        return results.count(False)

    def _one(self, row: Row) -> bool:
        path = f"/admin/engines/{row.engine_id}/upgrade"
        try:
            body = {"engine_version": self.image}
            done = self.client.get(Upgraded, "POST", path, body=body)
        except SeptemberError as error:
            click.echo(f"{row.user_id}: {error.message}", err=True)
            return False
        word = "upgraded" if done.upgraded else f"went back to {done.engine_version}"
        click.echo(f"{row.user_id}: {word}, {done.status}")
        return done.upgraded


def share(text: str) -> float:
    """Read 5% or 0.05. Raises click.BadParameter."""
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise click.BadParameter("must be a share such as 5%")
    return value
