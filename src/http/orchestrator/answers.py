"""Rows of the fleet as answers of the API."""

import msgspec

from ...fleet import audit
from ...fleet.backups import Backup
from ...fleet.instances import Engine
from . import port


def summary(engine: Engine, *, everything: bool) -> port.EngineSummary:
    """An Engine in a list; with `everything`, in a list of all products."""
    return port.EngineSummary(
        engine_id=str(engine.id),
        user_id=engine.user_id,
        status=engine.status.value,
        url=engine.url,
        engine_version=engine.image,
        created_at=engine.created_at,
        last_health_at=engine.last_health_at,
        product=engine.product if everything else msgspec.UNSET,
        failure=engine.failure if everything else msgspec.UNSET,
    )


def audit_entry(one: audit.Recorded) -> port.AuditEntry:
    """An entry of the audit log."""
    entry = one.entry
    assert entry.started_at is not None
    return port.AuditEntry(
        id=one.id,
        timestamp=entry.started_at,
        product_id=str(entry.product_id) if entry.product_id else None,
        user_id=entry.user_id,
        engine_id=str(entry.engine_id) if entry.engine_id else None,
        action=entry.action,
        actor=entry.actor,
        metadata=dict(entry.metadata),
        duration_ms=entry.duration_ms,
    )


def backup_info(one: Backup) -> port.BackupInfo:
    """A backup in a list."""
    return port.BackupInfo(name=one.name, path=str(one.path), size=one.size, taken_at=one.taken_at)
