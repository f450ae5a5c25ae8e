"""The user with the least rights: what `docs/security.md` says a server must allow, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.servers import command

NAME, PASSWORD = "restricted", "secret-of-the-restricted-user"
PAGE = Path(__file__).parents[2] / "docs" / "security.md"


def listed_commands() -> list[str]:
    """The rules of the page, one for each command: `+hget`."""
    listed = re.search(r"```text\n(\+\S.*?)```", PAGE.read_text(), re.DOTALL)
    assert listed is not None
    return listed[1].split()


def create_user(admin_url: str, commands: list[str], *, names: str = "*") -> None:
    """Make the user, or make it anew. names: the pattern of the keys and channels it may use."""
    rules = ["reset", "on", f">{PASSWORD}", f"~{names}", f"&{names}", "-@all", *commands]
    reply = command(admin_url, "ACL", "SETUSER", NAME, *rules)
    assert reply == b"+OK\r\n", reply


def as_user(url: str) -> str:
    """The address with that user's name and password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{NAME}:{PASSWORD}@{rest}"


def as_admin(url: str) -> str:
    """The address without a user: of one who may do everything."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def cluster_commands() -> list[str]:
    """The rules of the page that a cluster needs beside those."""
    paragraph = next(part for part in PAGE.read_text().split("\n\n") if part.startswith("In a cluster"))
    return re.findall(r"`(\+\S+)`", paragraph)
