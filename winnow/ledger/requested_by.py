"""Who requested what a stage made, and when: for cost.json, because a version must not depend on it."""

import getpass
import subprocess
from datetime import UTC, datetime


def requested_by() -> dict[str, str]:
    """`by`: git's user.name and user.email, or the name of the account; `at`: now, in UTC."""
    name, address = _git("user.name"), _git("user.email")
    who = f"{name} <{address}>" if name and address else name or address or _account()
    return {"by": who, "at": datetime.now(UTC).isoformat(timespec="seconds")}


def _git(key: str) -> str:
    try:
        command = ["git", "config", "--get", key]
        return subprocess.run(command, capture_output=True, text=True, timeout=5).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _account() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user without a name
        return "unknown"
