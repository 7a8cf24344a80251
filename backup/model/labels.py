"""What people may write on a snapshot: tags and a description."""

from backup.model.errors import UsageError


def require_text(text: str) -> None:
    """Raises `UsageError` for what has no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{text!r} is not text in UTF-8") from None


def require_tag(tag: str) -> None:
    """A tag stands in lists with commas, on one line. Raises `UsageError`."""
    require_text(tag)
    if not tag or "," in tag or not tag.isprintable() or tag != tag.strip():
        raise UsageError(f"{tag!r} is no tag: it is a text on one line, without commas or spaces around it")
