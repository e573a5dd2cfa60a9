"""For operators: products, and what concerns the Engines of all of them."""

from typing import Final

from ....fleet.metrics import CONTENT_TYPE
from ...endpoint import Json, Nothing
from .. import port
from ..endpoint import AnyEndpoint, Endpoint, Exchange, Text

_DOWN: Final = ("DATABASE_UNAVAILABLE",)


async def register(exchange: Exchange[port.RegisterBody]) -> Json:
    """Add a product."""
    return Json(await exchange.desk.register(exchange.input))


async def put_policy(exchange: Exchange[port.PolicyBody]) -> Json:
    """Replace a policy."""
    return Json(await exchange.desk.put_policy(exchange.path["product_id"], exchange.input))


async def products(exchange: Exchange[Nothing]) -> Json:
    """List products."""
    return Json(await exchange.desk.products())


async def engines(exchange: Exchange[port.ListQuery]) -> Json:
    """List Engines of every product."""
    return Json(await exchange.desk.list(None, exchange.input))


async def upgrade(exchange: Exchange[port.UpgradeBody]) -> Json:
    """Upgrade one Engine."""
    return Json(await exchange.desk.upgrade(exchange.path["engine_id"], exchange.input))


async def backup(exchange: Exchange[Nothing]) -> Json:
    """Copy a brain aside."""
    return Json(await exchange.desk.backup(exchange.path["engine_id"]))


async def backups(exchange: Exchange[Nothing]) -> Json:
    """List copies."""
    return Json(await exchange.desk.backups(exchange.path["engine_id"]))


async def restore(exchange: Exchange[port.RestoreBody]) -> Json:
    """Put a copy back."""
    return Json(await exchange.desk.restore(exchange.path["engine_id"], exchange.input.backup))


async def logs(exchange: Exchange[port.LogsQuery]) -> Json:
    """Show the end of a log."""
    return Json(await exchange.desk.logs(exchange.path["engine_id"], exchange.input.lines))


async def audit(exchange: Exchange[port.AuditQuery]) -> Json:
    """Show the audit log."""
    return Json(await exchange.desk.audit(exchange.input))


async def prune_audit(exchange: Exchange[port.PruneBody]) -> Json:
    """Delete old entries of the audit log."""
    return Json(await exchange.desk.prune_audit(exchange.input.older_than_days))


async def rotate_master_key(exchange: Exchange[Nothing]) -> Json:
    """Seal the Engines' keys anew."""
    return Json(await exchange.desk.rotate_master_key())


async def prometheus(exchange: Exchange[Nothing]) -> Text:
    """The figures of the whole fleet."""
    return Text(await exchange.desk.open_metrics(None), CONTENT_TYPE)


ENDPOINTS: Final[tuple[AnyEndpoint, ...]] = (
    Endpoint(
        "POST",
        "/products/register",
        "Add a product; its key is shown this once.",
        register,
        port.RegisterBody,
        answers=port.Registered,
        refusals=("PRODUCT_SLUG_EXISTS", *_DOWN),
        sample={"slug": "shop", "display_name": "The shop", "policy": {"max_engines": 100}},
    ),
    Endpoint(
        "PUT",
        "/products/{product_id}/policy",
        "Replace a product's policy; it works from the next request on.",
        put_policy,
        port.PolicyBody,
        answers=port.PolicyPut,
        refusals=("PRODUCT_NOT_FOUND", *_DOWN),
        sample={"policy": {"max_engines": 1000, "rate_limit_rpm": 600}},
    ),
    Endpoint(
        "GET",
        "/products",
        "List every product.",
        products,
        Nothing,
        answers=port.ProductList,
        refusals=_DOWN,
    ),
    Endpoint(
        "GET",
        "/admin/engines",
        "List the Engines of every product.",
        engines,
        port.ListQuery,
        answers=port.EngineList,
        refusals=_DOWN,
    ),
    Endpoint(
        "POST",
        "/admin/engines/{engine_id}/upgrade",
        "Take an Engine to another image: stop, copy the brain, replace, probe, or go back.",
        upgrade,
        port.UpgradeBody,
        answers=port.Upgraded,
        refusals=(
            "ENGINE_NOT_FOUND",
            "ENGINE_NOT_RUNNING",
            "ENGINE_BUSY",
            "BOOT_TIMEOUT",
            "BACKEND_ERROR",
            "BACKEND_UNAVAILABLE",
            *_DOWN,
        ),
        sample={"engine_version": "september-engine:2.3.1"},
    ),
    Endpoint(
        "POST",
        "/admin/engines/{engine_id}/backup",
        "Copy an Engine's brain to a file of the orchestrator's host, while it goes on.",
        backup,
        Nothing,
        answers=port.BackupInfo,
        refusals=("ENGINE_NOT_FOUND", "BACKEND_ERROR", "BACKEND_UNAVAILABLE", *_DOWN),
    ),
    Endpoint(
        "GET",
        "/admin/engines/{engine_id}/backups",
        "List the backups of an Engine's user, newest first.",
        backups,
        Nothing,
        answers=port.BackupList,
        refusals=("ENGINE_NOT_FOUND", *_DOWN),
    ),
    Endpoint(
        "POST",
        "/admin/engines/{engine_id}/restore",
        "Put a backup in place of a brain: stop, copy the brain, replace, probe, or go back.",
        restore,
        port.RestoreBody,
        answers=port.Restored,
        refusals=(
            "ENGINE_NOT_FOUND",
            "NOT_FOUND",
            "ENGINE_NOT_RUNNING",
            "ENGINE_BUSY",
            "BOOT_TIMEOUT",
            "BACKEND_ERROR",
            "BACKEND_UNAVAILABLE",
            *_DOWN,
        ),
        sample={"backup": "2026-11-28T12-00-00Z"},
    ),
    Endpoint(
        "GET",
        "/admin/engines/{engine_id}/logs",
        "Show the end of an Engine's log.",
        logs,
        port.LogsQuery,
        answers=port.Logs,
        refusals=("ENGINE_NOT_FOUND", "BACKEND_UNAVAILABLE", *_DOWN),
    ),
    Endpoint(
        "GET",
        "/admin/audit",
        "Show the audit log, newest first.",
        audit,
        port.AuditQuery,
        answers=port.AuditPage,
        refusals=_DOWN,
    ),
    Endpoint(
        "POST",
        "/admin/audit/prune",
        "Delete old entries of the audit log.",
        prune_audit,
        port.PruneBody,
        answers=port.Count,
        refusals=_DOWN,
        sample={"older_than_days": 90},
    ),
    Endpoint(
        "POST",
        "/admin/rotate-master-key",
        "Seal the keys of all Engines with the newest of ORCH_MASTER_KEY.",
        rotate_master_key,
        Nothing,
        answers=port.Count,
        refusals=_DOWN,
    ),
    Endpoint(
        "GET",
        "/admin/metrics",
        "The figures of the whole fleet as OpenMetrics text.",
        prometheus,
        Nothing,
        refusals=_DOWN,
    ),
)
