"""The desk: what the API's requests ask of the fleet, and the fleet's rows as answers."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, cast
from uuid import UUID, uuid4

import msgspec
import trio

from ...errors import SeptemberError
from ...fleet import audit, metrics, refusals, registry
from ...fleet.backends.backend import BackendError, BackendUnreachable
from ...fleet.backups import Backups, Retention, brains_in_use, removal
from ...fleet.discovery import Admission, Admit, Provision, Seen
from ...fleet.instances import Engine, Operation, Product, Status
from ...fleet.keys import new_platform_key, same, sha256_of
from ...fleet.lifecycle import EXCHANGED
from ...fleet.managed import Perform
from ...fleet.policy import read_policy
from ...fleet.store.database import Session, UniqueViolation
from ...fleet.trace_store import FleetTraces
from ...fleet.tree import Fleet
from ...traces.row import TraceFilter
from ..trace_bridge import TraceBridge
from . import answers, port
from .door import Caller

_BATCH: Final = 500


class Desk:
    """Serves one orchestrator's API."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._resources = fleet.resources
        self._database = fleet.resources.database
        config = fleet.resources.config
        retention = Retention(config.orch_backup_keep, config.orch_backup_max_age_s)
        self._backups = Backups(config.orch_data_dir.absolute() / "backups", retention)
        store = FleetTraces(self._database, fleet.resources.standing)
        self.traces = TraceBridge(fleet.tree, fleet.trace, store)

    async def caller_with(self, key: str, admitted: str | None) -> Caller | None:
        """Whoever has this key: looked up by its hash, so there is nothing to time."""
        key_hash = sha256_of(key)
        if admitted is None or not _storable(admitted):
            find = partial(registry.product_with_key, key_hash=key_hash)
            product = await self._database.read(find)
            return Caller(product) if product is not None else None
        look = partial(registry.caller, key_hash=key_hash, user_id=admitted)
        found = await self._database.read(look)
        return Caller(found[0], Seen(found[1])) if found is not None else None

    def is_admin(self, key: str) -> bool:
        """Whether this is the admin's key."""
        expected = self._resources.config.orch_admin_key
        return expected is not None and same(key, expected)

    async def provision(self, product: Product, body: port.ProvisionBody) -> port.Provisioned:
        """Make an Engine."""
        wish = Provision(product, body.user_id, body.engine_version)
        engine = _engine(await self._fleet.discovery.call(wish))
        return port.Provisioned(
            engine_id=str(engine.id),
            user_id=engine.user_id,
            status=engine.status.value,
            url=engine.url,
            api_key=self._key(engine),
        )

    async def admit(
        self, product: Product, user_id: str, body: port.AdmitBody, seen: Seen | None
    ) -> port.Admitted:
        """Find, make or wake an Engine."""
        port.check_user_id(user_id)
        wish = Admit(product, user_id, body.auto_provision, body.auto_wake, seen)
        answer = await self._fleet.discovery.call(wish)
        if isinstance(answer, SeptemberError):
            raise answer
        return self._admitted(answer)

    async def show(self, product: Product, user_id: str) -> port.EngineDetail:
        """One Engine."""
        return self._detail(await self._find(product, user_id))

    async def list(self, product: Product | None, query: port.ListQuery) -> port.EngineList:
        """A page of Engines: of a product, or of all."""
        of = product.id if product else None
        status = Status(query.status) if query.status else None
        rows = await self._database.read(
            partial(
                registry.engines, product=of, status=status, limit=query.limit, offset=query.offset
            )
        )
        counts = await self._database.read(partial(registry.count, product=of))
        total = counts.get(status, 0) if status else sum(counts.values())
        summaries = [answers.summary(row, everything=product is None) for row in rows]
        return port.EngineList(engines=summaries, total=total)

    async def start(self, product: Product, user_id: str) -> port.Started:
        """Start a stopped or a sleeping Engine."""
        engine = await self._perform(product, user_id, Operation.START)
        return port.Started(status=engine.status.value, url=engine.url, api_key=self._key(engine))

    async def stop(self, product: Product, user_id: str) -> port.Changed:
        """Stop a running Engine."""
        engine = await self._perform(product, user_id, Operation.STOP)
        return port.Changed(status="stopped", engine_id=str(engine.id))

    async def destroy(self, product: Product, user_id: str) -> port.Changed:
        """Remove an Engine and all it knows."""
        engine = await self._find(product, user_id)
        message = Perform(Operation.DESTROY, product.slug)
        await self._fleet.roster.ask(engine.id, message)
        return port.Changed(status="destroyed", engine_id=str(engine.id))

    async def rotate_key(self, product: Product, user_id: str) -> port.Rotated:
        """Give an Engine a new key."""
        engine = await self._perform(product, user_id, Operation.ROTATE_KEY)
        overlap = await self._database.read(partial(_last_overlap, engine_id=engine.id))
        return port.Rotated(
            engine_id=str(engine.id), api_key=self._key(engine), overlap_seconds=overlap
        )

    async def status(self, product: Product) -> port.FleetStatus:
        """How a product's Engines are."""
        counts = await self._database.read(partial(registry.count, product=product.id))
        by_status = {status.value: counts.get(status, 0) for status in Status}
        health = metrics.health_of(counts)
        return msgspec.convert(
            {
                "total": sum(counts.values()),
                "by_status": by_status,
                "health": health,
                "unhealthy_count": counts.get(Status.FAILED, 0),
            },
            port.FleetStatus,
        )

    async def metrics(self, product: Product) -> port.Metrics:
        """What happened to a product's Engines."""
        found = await self._database.read(partial(metrics.figures, product=product.id))
        return port.Metrics(
            provisions_1h=found.provisions_1h,
            crashes_1h=found.crashes_1h,
            restarts_1h=found.restarts_1h,
            avg_boot_ms=found.average_boot_ms,
            total_provisions=found.total_provisions,
            total_destroys=found.total_destroys,
        )

    async def open_metrics(self, product: Product | None) -> str:
        """The figures for Prometheus."""
        leads = self._resources.standing.leads
        figures = partial(metrics.open_metrics, product=product.id if product else None)
        if product is not None:
            return await self._database.read(partial(figures, leads=leads))
        losses = (await self.traces.page(TraceFilter(limit=1))).losses
        lost = losses.overload + losses.store
        return await self._database.read(partial(figures, leads=leads, lost=lost))

    async def health(self) -> port.Health:
        """Whether the database answers. Raises DATABASE_UNAVAILABLE."""
        await self._database.read(_ping)
        leads = self._resources.standing.leads
        return port.Health(status="ok", leader=leads)

    async def register(self, body: port.RegisterBody) -> port.Registered:
        """Add a product."""
        read_policy(body.policy)
        product = Product(uuid4(), body.slug, body.display_name, body.policy)
        key = new_platform_key().reveal()
        entry = audit.Entry(
            "policy_register", audit.ADMIN, product.id, metadata={"policy": body.policy}
        )

        async def work(session: Session) -> None:
            await registry.insert_product(session, product, sha256_of(key))
            await audit.record(session, entry)

        try:
            await self._database.write(work)
        except UniqueViolation as error:
            raise SeptemberError(
                "PRODUCT_SLUG_EXISTS", f"slug: {body.slug!r} is taken; choose another"
            ) from error
        return port.Registered(product_id=str(product.id), slug=product.slug, platform_api_key=key)

    async def put_policy(self, product_id: str, body: port.PolicyBody) -> port.PolicyPut:
        """Replace a product's policy."""
        read_policy(body.policy)
        product = _uuid(product_id, "PRODUCT_NOT_FOUND")
        entry = audit.Entry("policy_update", audit.ADMIN, product, metadata={"policy": body.policy})

        async def work(session: Session) -> bool:
            found = await registry.set_policy(session, product, body.policy)
            if found:
                await audit.record(session, entry)
            return found

        if not await self._database.write(work):
            raise _no_product()
        return port.PolicyPut(policy=body.policy)

    async def products(self) -> port.ProductList:
        """Every product."""
        rows = await self._database.read(registry.products)
        summaries = [
            port.ProductSummary(
                product_id=str(row.id),
                slug=row.slug,
                display_name=row.display_name,
                policy=cast("dict[str, int | None]", dict(row.policy)),
            )
            for row in rows
        ]
        return port.ProductList(products=summaries)

    async def upgrade(self, engine_id: str, body: port.UpgradeBody) -> port.Upgraded:
        """Take an Engine to another image, or back if it does not get well there."""
        wanted = {"next_image": body.engine_version}
        message = Perform(Operation.UPGRADE, audit.ADMIN, wanted)
        target = _uuid(engine_id, "ENGINE_NOT_FOUND")
        engine = await self._fleet.roster.row(target, message)
        return port.Upgraded(
            engine_id=str(engine.id),
            engine_version=engine.image,
            upgraded=engine.image == body.engine_version,
            status=engine.status.value,
        )

    async def backup(self, engine_id: str) -> port.BackupInfo:
        """Copy a brain aside."""
        engine = await self._row(engine_id)
        try:
            made = await self._backups.take(self._resources.backend, engine)
        except BackendUnreachable as error:
            raise refusals.backend_unavailable(str(error)) from error
        except BackendError as error:
            raise refusals.backend_refused(str(error)) from error
        about = {"backup": made.name, "bytes": made.size}
        entry = audit.about(engine, "backup", about, actor=audit.ADMIN)
        await self._database.write(partial(audit.record, entry=entry))
        await self._prune_backups()
        return answers.backup_info(made)

    async def _prune_backups(self) -> None:
        """Delete backups beyond the bounds; each is in the audit log before it is gone."""
        used = await self._database.read(brains_in_use)
        outlived = partial(self._backups.outlived, datetime.now(UTC), {Path(one) for one in used})
        for backup in await trio.to_thread.run_sync(outlived):
            await self._database.write(partial(audit.record, entry=removal(backup)))
            await trio.Path(backup.path).unlink(missing_ok=True)

    async def backups(self, engine_id: str) -> port.BackupList:
        """The copies that there are."""
        engine = await self._row(engine_id)
        retention = self._backups.retention
        return port.BackupList(
            backups=[answers.backup_info(one) for one in self._backups.of(engine)],
            keep=retention.keep,
            max_age_s=retention.max_age_s,
        )

    async def restore(self, engine_id: str, name: str) -> port.Restored:
        """Put a copy back, or the brain that was there if the Engine does not get well with it."""
        engine = await self._row(engine_id)
        wanted = {"next_brain": str(self._backups.find(engine, name))}
        message = Perform(Operation.RESTORE, audit.ADMIN, wanted)
        engine = await self._fleet.roster.row(engine.id, message)
        outcome = await self._database.read(partial(_last_restore, engine_id=engine.id))
        return port.Restored(
            engine_id=str(engine.id),
            restored=outcome == EXCHANGED[Operation.RESTORE],
            status=engine.status.value,
        )

    async def _row(self, engine_id: str) -> Engine:
        target = _uuid(engine_id, "ENGINE_NOT_FOUND")
        engine = await self._database.read(partial(registry.engine, engine_id=target))
        if engine is None:
            raise refusals.not_found()
        return engine

    async def logs(self, engine_id: str, lines: int) -> port.Logs:
        """The end of an Engine's log."""
        engine = await self._row(engine_id)
        return port.Logs(text=await self._resources.backend.logs(engine.id, lines))

    async def audit(self, query: port.AuditQuery) -> port.AuditPage:
        """A page of the audit log."""
        read = partial(
            audit.entries,
            user_id=query.user_id,
            action=query.action,
            before=query.before,
            limit=query.limit,
        )
        return port.AuditPage(
            entries=[answers.audit_entry(one) for one in await self._database.read(read)]
        )

    async def prune_audit(self, days: float) -> port.Count:
        """Delete old entries."""
        limit = datetime.now(UTC) - timedelta(days=days)
        count = await self._database.write(partial(audit.prune, older_than=limit))
        return port.Count(count=count)

    async def rotate_master_key(self) -> port.Count:
        """Seal every Engine's key with the newest master key."""
        vault, count = self._resources.vault, 0
        rows = await self._database.read(registry.engines)
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            resealed = [
                (row.engine_key_enc, vault.reseal(row.engine_key_enc), row.id) for row in batch
            ]
            count += await self._database.write(partial(registry.reseal, keys=resealed))
        return port.Count(count=count)

    async def _perform(self, product: Product, user_id: str, operation: Operation) -> Engine:
        engine = await self._find(product, user_id)
        return await self._fleet.roster.row(engine.id, Perform(operation, product.slug))

    async def _find(self, product: Product, user_id: str) -> Engine:
        find = partial(registry.engine_of, product=product.id, user_id=user_id)
        engine = await self._database.read(find) if _storable(user_id) else None
        if engine is None:
            raise refusals.not_found()
        return engine

    def _admitted(self, answer: Admission) -> port.Admitted:
        if answer.engine is None:
            reason = answer.reason or "engine_not_found"
            return port.Admitted(admitted=False, engine=None, reason=reason)
        return port.Admitted(admitted=True, engine=self._detail(answer.engine))

    def _detail(self, engine: Engine) -> port.EngineDetail:
        return port.EngineDetail(
            engine_id=str(engine.id),
            user_id=engine.user_id,
            status=engine.status.value,
            url=engine.url,
            api_key=self._key(engine),
            engine_version=engine.image,
            created_at=engine.created_at,
            last_health_at=engine.last_health_at,
        )

    def _key(self, engine: Engine) -> str:
        return self._resources.vault.open(engine.engine_key_enc)


def _engine(answer: Engine | SeptemberError) -> Engine:
    if isinstance(answer, SeptemberError):
        raise answer
    return answer


async def _last_restore(session: Session, engine_id: UUID) -> object:
    return await session.value(
        "SELECT metadata->>'outcome' FROM audit_log WHERE engine_id = $1 AND action = 'restore'"
        " ORDER BY id DESC LIMIT 1",
        engine_id,
    )


def _storable(user_id: str) -> bool:
    """Whether PostgreSQL's text can hold it."""
    return "\0" not in user_id


async def _ping(session: Session) -> object:
    return await session.value("SELECT 1")


async def _last_overlap(session: Session, engine_id: UUID) -> float:
    found = await session.value(
        "SELECT (metadata->>'overlap_seconds')::float8 FROM audit_log WHERE engine_id = $1"
        " AND action = 'rotate_key' ORDER BY id DESC LIMIT 1",
        engine_id,
    )
    return cast("float | None", found) or 0.0


def _uuid(text: str, code: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        if code == "PRODUCT_NOT_FOUND":
            raise _no_product() from error
        raise refusals.not_found() from error


def _no_product() -> SeptemberError:
    return SeptemberError("PRODUCT_NOT_FOUND", "there is no such product; register it first")
