"""What a result was measured on: cores, Python and library versions, and never a date."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

_LIBRARIES = ("aiohttp", "msgspec", "boto3", "botocore", "aioboto3", "aiobotocore", "aiostream", "uvloop")


def description() -> dict[str, str]:
    """Facts about this machine, in the order in which they are shown."""
    facts = {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }
    for library in _LIBRARIES:
        facts[library] = importlib.metadata.version(library)
    return facts


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or "unknown"
