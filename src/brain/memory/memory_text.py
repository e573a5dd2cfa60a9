"""The text of a memory that is embedded: what it says, once."""


def episode_text(key: str, description: str, value: str) -> str:
    """An episode as one text; a description that the value repeats is left out."""
    if description in value:
        return f"{key}: {value}"
    return f"{key}: {description} {value}"


def knowledge_text(subject: str, content: str) -> str:
    """A fact as one text."""
    return f"{subject}: {content}"


def node_text(name: str, kind: str, description: str) -> str:
    """A person or thing as one text."""
    return f"{name} ({kind}): {description}"
