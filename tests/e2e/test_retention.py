"""Clients of what has had its time."""

from pathlib import Path

from .client import phases, text_of
from .harness import settings
from .served import served


async def test_a_repeated_key_whose_events_are_gone_ends_at_once_and_runs_nothing(
    tmp_path: Path,
) -> None:
    async with served(settings(tmp_path)) as engine:
        key = {"Idempotency-Key": "once"}
        first = await engine.client.turn("hello", headers=key)
        assert phases(await engine.client.turn("hello", headers=key)) == ["started", "completed"]
        await engine.engine.database.write(
            lambda c: c.execute("DELETE FROM channel_events") and None
        )
        assert await engine.client.turn("hello", headers=key) == []
        assert await engine.client.replayed(first[-1].id, task_id="task") == []
        assert len(await engine.client.messages()) == 2, "the task itself is as it was"
        again = await engine.client.turn("hello")
        assert text_of(again) == text_of(first)
        assert again[0].id > first[-1].id
