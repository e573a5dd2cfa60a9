"""Media from the request to the provider's wire: kept once, sent in its own form, never lost."""

from pathlib import Path
from typing import Any

import pytest

from september.brain.media.rows import item_of
from tests.brain.media.samples import base64, block, bomb, document, picture
from tests.peers import Call, Say, Status, provider_peer, script

from .brain import rows
from .client import Client, Refused, named, text_of
from .crash import check_ended
from .harness import engine_process, peered
from .served import served
from .stage import Stage, each_provider, staged

PNG = picture()


def said(stage: Stage, number: int = -1) -> str:
    """What the provider was sent, as text."""
    return str(stage.peer.requests[number].body)


@each_provider
async def test_an_image_is_kept_once_and_sent_with_every_call(
    provider: str, tmp_path: Path
) -> None:
    image = block("image", "image/png", PNG)
    async with staged(provider, script(Say("teal"), Say("still teal")), tmp_path) as stage:
        events = await stage.client.turn("Which colour?", media=[image, image])
        await stage.client.turn("Sure?")
        (message, *_) = await stage.client.messages()
        kept = await stage.client.get(f"/media/{message['blocks'][1]['source']['media_id']}")
    assert said(stage, 0).count(base64(PNG)) == said(stage, 1).count(base64(PNG)) == 2
    assert kept["data"] == base64(PNG) and kept["media_type"] == "image/png"
    assert base64(PNG) not in str(events) and base64(PNG) not in str(message)
    assert rows(stage.brain, "SELECT count(*), sum(length(data)) FROM media") == [(1, len(PNG))]
    pattern = f"%{base64(PNG)}%"
    elsewhere = (
        "SELECT (SELECT count(*) FROM turns WHERE request LIKE ?1),"
        " (SELECT count(*) FROM messages WHERE blocks LIKE ?1)"
    )
    assert rows(stage.brain, elsewhere, pattern) == [(0, 0)]
    assert text_of(events) == "teal"


@each_provider
async def test_a_pdf_goes_as_it_is_to_anthropic_and_as_text_to_the_others(
    provider: str, tmp_path: Path
) -> None:
    pdf = document("The moon is 384400 km away.", "The end.")
    async with staged(provider, script(Say("far")), tmp_path) as stage:
        await stage.client.turn(media=[block("document", "application/pdf", pdf)])
    assert (base64(pdf) in said(stage)) == (provider == "anthropic")
    assert ("The moon is 384400 km away." in said(stage)) == (provider != "anthropic")


async def test_what_a_model_cannot_take_is_told_to_it_and_to_the_client(tmp_path: Path) -> None:
    film = block("video", "video/mp4", b"\0\0\0\x20ftypisom")
    async with staged("anthropic", script(Say("I cannot see it.")), tmp_path) as stage:
        events = await stage.client.turn(media=[film])
    (news,) = named(events, "media_left_out")
    assert news["kind"] == "video" and "anthropic" in news["reason"]
    assert "The video that was attached here is left out" in said(stage)


async def test_a_gif_reaches_gemini_as_png(tmp_path: Path) -> None:
    gif = block("image", "image/gif", picture(kind="GIF"))
    async with staged("gemini", script(Say("teal")), tmp_path) as stage:
        await stage.client.turn(media=[gif])
    assert "image/png" in said(stage) and "image/gif" not in said(stage)


@each_provider
async def test_an_image_on_the_web_stays_there_where_the_provider_fetches_it(
    provider: str, tmp_path: Path
) -> None:
    """For Gemini the Engine fetches it itself, and this one stands where nobody may look."""
    url = "http://127.0.0.1:9/cat.png" if provider == "gemini" else "https://example.org/cat.png"
    media = [{"type": "image", "source": {"type": "url", "url": url}}]
    async with staged(provider, script(Say("ok")), tmp_path) as stage:
        events = await stage.client.turn(media=media)
    left_out = named(events, "media_left_out")
    if provider == "gemini":
        assert left_out[0]["media"] == url and "not a public address" in left_out[0]["reason"]
        assert "is left out" in said(stage)
    else:
        assert left_out == [] and url in said(stage)


BAD: list[tuple[dict[str, Any], str]] = [
    (block("image", "image/bmp", PNG), "media[1].source.media_type"),
    (block("image", "image/png", bomb()), "media[1].source.data"),
    (block("image", "image/png", b""), "media[1].source.data"),
    (block("video", "image/png", PNG), "media[1].source.media_type"),
    ({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "%"}},
     "media[1].source.data"),
    ({"type": "image", "source": {"type": "url", "url": "file:///etc/passwd"}},
     "media[1].source.url"),
    ({"type": "document", "source": {"type": "url", "url": "http://127.0.0.1:1/a.pdf"}},
     "media[1].source.url"),
    ({"type": "image", "source": {"type": "stored", "media_id": "media-none"}},
     "media[1].source.media_id"),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "field"), BAD)
async def test_media_beyond_the_limits_are_refused_by_name_and_nothing_runs(
    bad: dict[str, Any], field: str, tmp_path: Path
) -> None:
    async with staged("openai", script(), tmp_path) as stage:
        with pytest.raises(Refused) as refused:
            await stage.client.turn(media=[block("image", "image/png", PNG), bad])
        assert await stage.client.get("/conversations") == {
            "conversations": [],
            "next_before": None,
        }
    assert (refused.value.status, refused.value.error) == (422, "INVALID_REQUEST")
    assert refused.value.body["details"]["field"] == field
    assert refused.value.body["message"].startswith(field)


async def test_the_flags_say_whether_a_large_image_is_passed_on_refused_or_made_smaller(
    tmp_path: Path,
) -> None:
    large = block("image", "image/jpeg", picture(2500, 100, "JPEG"))
    for flags, outcome in (
        ({}, "passed"),
        ({"MEDIA_PRESEND_VALIDATION_ENABLED": "true"}, "refused"),
        ({"MEDIA_IMAGE_RESIZE_ENABLED": "true"}, "smaller"),
    ):
        folder = tmp_path / outcome
        folder.mkdir()
        async with staged("openai", script(Say("ok")), folder, **flags) as stage:
            if outcome == "refused":
                with pytest.raises(Refused, match=r"media\[0\].* 2500 x 100"):
                    await stage.client.turn(media=[large])
            else:
                await stage.client.turn(media=[large])
                same = base64(picture(2500, 100, "JPEG")) in said(stage)
                assert same == (outcome == "passed")


async def test_a_refused_image_is_stripped_and_the_call_made_once_more(tmp_path: Path) -> None:
    good, bad = picture(9, 9), picture(10, 10)
    media = [block("image", "image/png", good), block("image", "image/png", bad)]
    refusal = Status(400, "messages.0.content.2.image.source.base64: Could not process image")
    replies = script(refusal, Say("one image"), Say("again"))
    flags = {"MEDIA_ERROR_RECOVERY_ENABLED": "true"}
    async with staged("anthropic", replies, tmp_path, **flags) as stage:
        events = await stage.client.turn(media=media)
        await stage.client.turn("And now?")
    assert text_of(events) == "one image"
    (news,) = named(events, "media_left_out")
    assert "Could not process image" in news["reason"]
    assert [base64(bad) in said(stage, n) for n in range(3)] == [True, False, False]
    assert [base64(good) in said(stage, n) for n in range(3)] == [True, True, True]


async def test_without_the_flag_a_refused_image_ends_the_turn(tmp_path: Path) -> None:
    refusal = Status(400, "Could not process image")
    async with staged("anthropic", script(refusal), tmp_path) as stage:
        events = await stage.client.turn(media=[block("image", "image/png", PNG)])
    (error,) = named(events, "error")
    assert error["error"] == "LLM_PROVIDER_ERROR"


@each_provider
async def test_a_long_document_is_searched_and_read_through_the_tool(
    provider: str, tmp_path: Path
) -> None:
    filler = "\n".join(["Nothing to see on this line of the page."] * 20)
    pages = [f"{filler}\npage {n}" for n in range(40)]
    pages[30] = "The treasure lies under the old oak."
    pdf = document(*pages)
    media_id = item_of("task", "application/pdf", pdf).media_id
    replies = script(
        [
            Call("read_attachment", {"media_id": media_id, "query": "treasure oak"}),
            Call("read_attachment", {"media_id": media_id, "part": 31, "parts": 1}),
            Call("read_attachment", {"media_id": media_id, "part": 99}),
        ],
        Say("Under the oak."),
    )
    async with staged(provider, replies, tmp_path, CONTENT_INGESTION_ENABLED="true") as stage:
        media = [block("document", "application/pdf", pdf)]
        events = await stage.client.turn("Where?", media=media)
    assert media_id in said(stage, 0) and "treasure" not in said(stage, 0)
    results = {one["tool_call_id"]: one for one in named(events, "tool_result")}
    found, read, beyond = (results[one["tool_call_id"]] for one in named(events, "tool_call"))
    assert "part 31 (page 31)" in found["output"] and "old oak" in found["output"]
    assert "treasure lies under the old oak" in read["output"]
    assert beyond["error"] == "no_such_part" and "40 part(s)" in beyond["output"]


async def test_media_survive_edits_retries_and_references_and_leave_with_the_task(
    tmp_path: Path,
) -> None:
    image = block("image", "image/png", PNG)
    async with staged("openai", script(Say("teal"), repeat=True), tmp_path) as stage:
        events = await stage.client.turn("One", media=[image])
        first = named(events, "thread_lifecycle")[0]["message_id"]
        await stage.client.turn("-", retry_message_id=first)
        assert base64(PNG) in said(stage)
        (asked, *_) = await stage.client.messages()
        again = [{"type": "image", "source": asked["blocks"][1]["source"]}]
        await stage.client.turn("Two", edit_message_id=first, media=again)
        assert base64(PNG) in said(stage) and "Two" in said(stage) and "One" not in said(stage)
        (edited, *_) = await stage.client.messages()
        await stage.client.turn("Three", edit_message_id=edited["message_id"])
        assert base64(PNG) not in said(stage)
        response = await stage.client.http.delete("/conversations/task")
        assert response.is_success
    assert rows(stage.brain, "SELECT count(*) FROM media") == [(0,)]


async def test_media_have_a_limit_of_their_own_and_texts_keep_theirs(tmp_path: Path) -> None:
    flags = {"MEDIA_MAX_BODY_BYTES": "3000000"}
    async with staged("openai", script(Say("ok"), repeat=True), tmp_path, **flags) as stage:
        noise = picture(900, 900, noise=True)
        assert 2**20 < len(base64(noise)) < 3_000_000
        await stage.client.turn(media=[block("image", "image/png", noise)])
        too_much: list[dict[str, Any]] = [
            {"message": "x" * 2**21},
            {"media": [block("image", "image/png", noise)] * 2},
        ]
        for body in too_much:
            with pytest.raises(Refused) as refused:
                await stage.client.turn(**body)
            assert (refused.value.status, refused.value.error) == (413, "PAYLOAD_TOO_LARGE")


@each_provider
async def test_media_that_come_with_an_answer_reach_the_model_behind_it(
    provider: str, tmp_path: Path
) -> None:
    image = block("image", "image/png", PNG)
    ask = [Call("ask_user", {"question": "Which one?"})]
    async with staged(provider, script(ask, [Say("That one.")], [Say("Sure.")]), tmp_path) as stage:
        async with stage.client.execute() as stream:
            await stream.until("hitl_request")
            await stage.client.answer("the one in the picture", content_blocks=[image])
            events = await stream.rest()
        await stage.client.turn("Sure?")
        *_, answered, _said, _asked, _told = await stage.client.messages()
    assert said(stage, 0).count(base64(PNG)) == 0
    assert said(stage, 1).count(base64(PNG)) == said(stage, 2).count(base64(PNG)) == 1
    assert [request.refused for request in stage.peer.requests if request.refused] == []
    assert [one["type"] for one in answered["blocks"]] == ["tool_result", "image"]
    assert base64(PNG) not in str(events) and base64(PNG) not in str(answered)
    kept = rows(stage.brain, "SELECT media_id, length(data) FROM media")
    assert kept == [(answered["blocks"][1]["source"]["media_id"], len(PNG))]


@each_provider
async def test_a_picture_in_the_workspace_is_looked_at(provider: str, tmp_path: Path) -> None:
    calls = [Call("bash", {"command": "ls"}), Call("read_file", {"path": "cat.png"})]
    replies = script(calls, [Say("teal")], [Say("still teal")])
    async with staged(provider, replies, tmp_path) as stage:
        stage.workspace.mkdir(parents=True)
        (stage.workspace / "cat.png").write_bytes(PNG)
        await stage.client.turn("Which colour?")
        await stage.client.turn("Sure?")
    counts = [str(request.body).count(base64(PNG)) for request in stage.peer.requests]
    assert counts == [0, 1, 1]
    assert [request.refused for request in stage.peer.requests if request.refused] == []


async def test_an_answers_media_outlive_a_kill_before_the_model_saw_them(tmp_path: Path) -> None:
    image = block("image", "image/png", PNG)
    both = [
        Call("ask_user", {"question": "Which one?"}),
        Call("ask_user", {"question": "And when?"}),
    ]
    async with provider_peer("anthropic", script(both, [Say("That one.")])) as peer:
        env = peered(tmp_path, peer)
        async with engine_process(env) as doomed, Client(doomed.url) as client:
            async with client.execute() as stream:
                await stream.until("hitl_request")
                await client.answer("this", content_blocks=[image])
                await stream.until("tool_result")
                await doomed.kill()
        async with served(env) as engine:
            async with engine.client.replay(stream.seen[-1].id, task_id="task") as rest:
                await engine.client.answer("now")
                events = stream.seen + await rest.rest()
            assert check_ended(engine.brain, events) == "completed"
        assert str(peer.requests[-1].body).count(base64(PNG)) == 1


async def test_a_permission_takes_no_media_and_is_not_answered_by_them(tmp_path: Path) -> None:
    image = block("image", "image/png", PNG)
    dangerous = [Call("bash", {"command": "rm -rf /opt/x"})]
    async with staged("anthropic", script(dangerous, [Say("Well.")]), tmp_path) as stage:
        async with stage.client.execute() as stream:
            asked = (await stream.until("hitl_request")).data
            with pytest.raises(Refused) as refused:
                await stage.client.answer("yes", content_blocks=[image])
            assert (refused.value.status, refused.value.error) == (400, "INVALID_REQUEST")
            assert refused.value.body["details"]["field"] == "content_blocks"
            assert (await stage.client.get("/hitl/pending"))["pending"] == [asked]
            await stage.client.answer("no")
            await stream.rest()
    assert rows(stage.brain, "SELECT count(*) FROM media") == [(0,)]
