"""What MCP servers answer, in our words: text for the model, attachments for the workspace."""

from base64 import b64decode
from typing import Any

import msgspec

from .actions import Attachment, Content


def content_of(result: Any) -> Content:
    """The SDK's CallToolResult."""
    texts: list[str] = []
    attachments: list[Attachment] = []
    for block in result.content:
        match block.type:
            case "text":
                texts.append(block.text)
            case "image" | "audio":
                attachments.append(Attachment(block.mime_type, b64decode(block.data)))
            case "resource":
                _take_resource(block.resource, texts, attachments)
            case "resource_link":
                texts.append(f"[resource {block.uri}: {block.description or block.name}]")
            case _:
                texts.append(f"[{block.type}]")
    if not texts and not attachments and result.structured_content is not None:
        texts.append(msgspec.json.encode(result.structured_content).decode())
    return Content("\n".join(texts), tuple(attachments), bool(result.is_error))


def resource_content(result: Any) -> Content:
    """The SDK's ReadResourceResult."""
    texts: list[str] = []
    attachments: list[Attachment] = []
    for one in result.contents:
        _take_resource(one, texts, attachments)
    return Content("\n".join(texts), tuple(attachments))


def _take_resource(resource: Any, texts: list[str], attachments: list[Attachment]) -> None:
    text = getattr(resource, "text", None)
    if text is not None:
        texts.append(text)
    else:
        media_type = resource.mime_type or "application/octet-stream"
        attachments.append(Attachment(media_type, b64decode(resource.blob)))
