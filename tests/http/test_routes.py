"""Each endpoint: what reaches the Engine, and what comes back."""

from typing import Any

import pytest

from september.brain.herald.conversation import Base64Source, ImageBlock
from september.http.endpoint import HttpSettings
from september.http.port import ExecuteRequest, Feedback, HitlAnswer, ReplayRequest

from .conftest import KEY, Served, serving
from .fake_engine import NOW, FakeEngine, sse

FRAMES = sse(1) + sse(2) + sse(3)


async def test_execute_passes_every_field_on_and_streams_the_frames(served: Served) -> None:
    body = {
        "message": "he\u200bllo",
        "task_id": "task/1 ä",
        "media": [
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
            }
        ],
        "direct": True,
        "edit_message_id": "m-1",
        "retry_message_id": None,
        "agent": "assistant",
        "super_thinking": True,
        "response_schema": {"type": "object"},
        "context": {"files": {"a/b.txt": "text\u200b"}},
        "on_busy": "queue",
    }
    headers = {"Idempotency-Key": "k-1", "Last-Event-ID": "7"}
    async with served.client() as client:
        response = await client.post("/execute", json=body, headers=headers)
    assert response.status_code == 200
    assert response.content == FRAMES
    asked = served.engine.requests[0]
    assert isinstance(asked, ExecuteRequest)
    assert asked.traceparent == response.headers["traceparent"]
    assert asked == ExecuteRequest(
        message="hello",
        task_id="task/1 ä",
        media=(ImageBlock(Base64Source("image/png", "aGk=")),),
        direct=True,
        edit_message_id="m-1",
        agent="assistant",
        super_thinking=True,
        response_schema={"type": "object"},
        context_files={"a/b.txt": "text\u200b"},
        on_busy="queue",
        idempotency_key="k-1",
        last_event_id=7,
        traceparent=asked.traceparent,
    )


async def test_a_stream_tells_proxies_to_keep_out_of_it(served: Served) -> None:
    async with served.client() as client:
        response = await client.post("/execute", json={"task_id": "t", "message": "x"})
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache, no-transform"
    assert response.headers["x-accel-buffering"] == "no"


@pytest.mark.parametrize(
    ("query", "header", "expected"),
    [
        ("", None, ReplayRequest()),
        ("?after=1700000000000", None, ReplayRequest(after_ms=1700000000000)),
        ("?after=5&after_id=9", None, ReplayRequest(after_id=9)),
        ("?after=5&after_id=9", "12", ReplayRequest(after_id=12)),
        ("?after=5&after_id=9", "0", ReplayRequest(after_id=0)),
        ("?task_id=a%2Fb&follow=false", None, ReplayRequest(task_id="a/b", follow=False)),
    ],
)
async def test_replay_takes_the_strongest_position(
    served: Served, query: str, header: str | None, expected: ReplayRequest
) -> None:
    headers = {"Last-Event-ID": header} if header is not None else {}
    async with served.client() as client:
        response = await client.get(f"/execute/replay{query}", headers=headers)
    assert response.content == FRAMES
    assert served.engine.requests == [expected]


async def test_asking_only_for_the_head_of_a_replay_opens_no_stream(served: Served) -> None:
    async with served.client() as client:
        response = await client.head("/execute/replay")
    assert response.status_code == 200
    assert served.engine.requests == []


async def test_cancel_says_what_it_did(served: Served) -> None:
    async with served.client() as client:
        response = await client.post("/execute/cancel", json={"task_id": "t"})
    assert response.json() == {"status": "cancelled", "task_id": "t", "turn_id": "turn-1"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"task_id": "t", "answer": "yes"},
            HitlAnswer(task_id="t", request_id=None, answer="yes"),
        ),
        (
            {"request_id": "hitl-1", "answer": "no", "feedback": "not\u202e now"},
            HitlAnswer(task_id=None, request_id="hitl-1", answer="no", feedback="not now"),
        ),
    ],
)
async def test_an_answer_reaches_what_waits(
    served: Served, body: dict[str, str], expected: HitlAnswer
) -> None:
    async with served.client() as client:
        response = await client.post("/hitl/respond", json=body)
    assert response.json() == {"status": "resumed", "request_id": "hitl-1"}
    assert served.engine.requests == [expected]


async def test_an_answer_to_nothing_is_refused(served: Served) -> None:
    async with served.client() as client:
        response = await client.post("/hitl/respond", json={"answer": "yes"})
    assert (response.status_code, response.json()["error"]) == (400, "INVALID_REQUEST")


async def test_media_come_with_an_answer_in_a_body_as_large_as_media_may_be() -> None:
    source = {"type": "base64", "media_type": "image/png", "data": "A" * 2_000_000}
    body = {"task_id": "t", "answer": "no", "content_blocks": [{"type": "image", "source": source}]}
    async with serving(settings=HttpSettings()) as served, served.client() as client:
        taken = await client.post("/hitl/respond", json=body)
        wordy = {"task_id": "t", "answer": "no" * 1_000_000}
        refused = await client.post("/hitl/respond", json=wordy)
    assert (taken.status_code, refused.status_code) == (200, 413)
    (answer,) = served.engine.requests
    assert isinstance(answer, HitlAnswer)
    assert answer.media == (ImageBlock(Base64Source("image/png", "A" * 2_000_000)),)


async def test_pending_lists_what_waits(served: Served) -> None:
    async with served.client() as client:
        response = await client.get("/hitl/pending")
    assert response.json() == {
        "pending": [
            {
                "request_id": "hitl-1",
                "task_id": "t",
                "kind": "permission",
                "question": "May I?",
                "created_at": NOW,
                "expires_at": NOW,
            }
        ]
    }


async def test_conversations_are_listed_read_and_deleted(served: Served) -> None:
    async with served.client() as client:
        listed = (await client.get("/conversations?limit=5&before=x")).json()
        read = (await client.get("/conversations/a%2F%2Fb")).json()
        gone = (await client.delete("/conversations/t")).json()
    assert listed["conversations"][0]["task_id"] == "t"
    assert listed["next_before"] == "2"
    assert read["task_id"] == "a//b"
    assert read["messages"][0]["blocks"] == [{"type": "text", "text": "Hi"}]
    assert gone == {"status": "deleted", "task_id": "t"}
    assert served.engine.requests == [(5, "x"), "a//b", "t"]


async def test_feedback_is_kept(served: Served) -> None:
    async with served.client() as client:
        body = {"task_id": "t", "signal": "up", "turn_id": "turn-1", "comment": "good"}
        response = await client.post("/feedback", json=body)
    assert response.json() == {"status": "recorded"}
    assert served.engine.requests == [
        Feedback(task_id="t", signal="up", turn_id="turn-1", comment="good")
    ]


async def test_agents_actors_and_the_catalog(served: Served) -> None:
    async with served.client() as client:
        agents = (await client.get("/agents")).json()
        actors = (await client.get("/actors")).json()
        reloaded = (await client.post("/admin/reload-catalog")).json()
    assert agents == [
        {"name": "assistant", "description": "Helps", "tools": ["bash"], "model": None}
    ]
    assert actors["actors"][0]["path"] == "engine"
    assert reloaded == {"status": "reloaded", "catalog": {"agents": 1, "skills": 0, "tools": 0}}


async def test_health_has_its_documented_shape(served: Served) -> None:
    async with served.client(None) as client:
        body: dict[str, Any] = (await client.get("/health")).json()
    assert set(body) == {"status", "uptime_seconds", "subsystems", "activity"}
    assert set(body["activity"]) == {
        "running_turns",
        "queued_turns",
        "pending_hitl",
        "idle_seconds",
        "next_wake_at",
    }


async def test_a_request_keeps_its_own_id_if_that_is_harmless(served: Served) -> None:
    async with served.client() as client:
        kept = await client.get("/agents", headers={"X-Request-Id": "abc-1"})
        made = await client.get("/agents", headers={"X-Request-Id": "a b\tc"})
        none = await client.get("/nowhere")
    assert kept.headers["x-request-id"] == "abc-1"
    assert made.headers["x-request-id"].startswith("req-")
    assert none.headers["x-request-id"].startswith("req-")


async def test_a_trace_goes_in_and_out(served: Served) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    async with served.client() as client:
        given = await client.get(
            "/agents", headers={"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
        )
        fresh = await client.get("/agents", headers={"traceparent": "nonsense"})
    assert given.headers["traceparent"].split("-")[1] == trace
    assert given.headers["traceparent"].split("-")[2] != "b7ad6b7169203331"
    assert fresh.headers["traceparent"].split("-")[1] != trace


ORIGIN = "https://app.example"


async def test_by_default_no_page_may_call(served: Served) -> None:
    async with served.client() as client:
        answer = await client.get("/agents", headers={"Origin": ORIGIN})
        asked = await client.options(
            "/agents", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
        )
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert asked.status_code == 405


async def test_an_allowed_page_may_call_and_ask_first() -> None:
    async with serving(settings=HttpSettings(cors_origins=(ORIGIN,))) as served:
        async with served.client(None) as client:
            asked = await client.options(
                "/execute", headers={"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
            )
            refused = await client.get("/agents", headers={"Origin": ORIGIN})
            foreign = await client.options(
                "/execute",
                headers={"Origin": "https://evil", "Access-Control-Request-Method": "POST"},
            )
        async with served.client() as client:
            stranger = await client.get("/agents", headers={"Origin": "https://evil"})
    assert asked.status_code == 204
    assert asked.headers["access-control-allow-origin"] == ORIGIN
    assert "X-Engine-Key" in asked.headers["access-control-allow-headers"]
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == ORIGIN
    assert foreign.status_code == 401
    assert "access-control-allow-origin" not in stranger.headers
    assert stranger.headers["vary"] == "Origin"


async def test_with_a_star_every_page_may_call() -> None:
    async with serving(FakeEngine(), HttpSettings(cors_origins=("*",))) as served:
        async with served.client(KEY) as client:
            answer = await client.get("/agents", headers={"Origin": "https://any"})
    assert answer.headers["access-control-allow-origin"] == "*"
