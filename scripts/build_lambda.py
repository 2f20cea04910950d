"""Builds the zip file of asyncrep's Lambda functions: only what a handler needs, and always the same bytes.

Without options the libraries are copied from the environment that runs this, so nothing is downloaded and the
zip is for this interpreter and this system. For another one pip fetches the very same versions:

    python scripts/build_lambda.py --platform manylinux2014_aarch64 --python-version 3.13
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pip._vendor.packaging.markers import default_environment
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).parents[1]
COMMAND_LINE = frozenset({"typer", "rich", "uvloop"})
"""What asyncrep depends on for its command line alone."""
SERVICES = frozenset({"cloudwatch", "dynamodb", "dynamodbstreams", "s3", "sqs", "sts"})
"""The services that handlers call; botocore has the descriptions of some four hundred."""

_LEFT_OUT_OF_ASYNCREP = frozenset({"cli", "parallel", "sandbox", "templates"})
_NOT_RUN = frozenset({".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".hash", ".rst", ".typed", ".pyc"})
_OLD_SERVICES = frozenset({"2011-12-05"})
_TIME = (2020, 1, 1, 0, 0, 0)
_LARGEST_UNPACKED = 250 * 1024 * 1024
"""The most that Lambda unpacks, layers included."""


def main() -> None:
    """Build the zip and say how large it is."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, default=ROOT / "dist" / "asyncrep-lambda.zip")
    parser.add_argument("--platform", help="as pip knows it, for one: manylinux2014_aarch64")
    parser.add_argument("--python-version", help="of the function's runtime, for one: 3.13")
    options = parser.parse_args()
    pinned = libraries()
    if options.platform or options.python_version:
        with tempfile.TemporaryDirectory() as folder:
            fetch(pinned, Path(folder), options.platform, options.python_version)
            files = dict(fetched(Path(folder)))
            unpacked = write(options.output, files | dict(own_files()))
    else:
        unpacked = write(options.output, dict(installed(pinned)) | dict(own_files()))
    size = options.output.stat().st_size
    if unpacked > _LARGEST_UNPACKED:
        sys.exit(f"Unpacked it has {unpacked:,} bytes, more than Lambda takes.")
    sys.stdout.write(f"{options.output}: {size / 1e6:.1f} MB, unpacked {unpacked / 1e6:.1f} MB\n")


def libraries() -> dict[str, str]:
    """Return what asyncrep's handlers depend on, directly or not, as versions by name."""
    found: dict[str, str] = {}
    waiting = [name for name in _required("asyncrep", frozenset()) if name[0] not in COMMAND_LINE]
    while waiting:
        name, extras = waiting.pop()
        if name not in found:
            found[name] = metadata.version(name)
        waiting += [each for each in _required(name, extras) if each[0] not in found]
    return dict(sorted(found.items()))


def _required(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    for text in metadata.requires(name) or ():
        requirement = Requirement(text)
        environments = [default_environment() | {"extra": extra} for extra in (*extras, "")]
        if requirement.marker is None or any(map(requirement.marker.evaluate, environments)):
            yield canonicalize_name(requirement.name), frozenset(requirement.extras)


def installed(pinned: Iterable[str]) -> Iterator[tuple[str, Path]]:
    """Yield the files of libraries as they are installed here, by their names in the zip."""
    for library in pinned:
        for file in metadata.files(library) or ():
            if is_needed(PurePosixPath(file)):
                yield str(PurePosixPath(file)), Path(str(file.locate()))


def fetch(pinned: dict[str, str], folder: Path, platform: str | None, version: str | None) -> None:
    """Fetch the same versions of libraries for another system."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-compile", "--only-binary", ":all:", "--target", str(folder)]
    command += ["--platform", platform] if platform else []
    command += ["--python-version", version] if version else []
    # typing_extensions and the like are needed by older versions only, or by newer: all of them are pure Python.
    subprocess.run([*command, *(f"{name}=={number}" for name, number in pinned.items())], check=True)


def fetched(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files of libraries that were fetched."""
    for path in folder.rglob("*"):
        name = PurePosixPath(path.relative_to(folder).as_posix())
        if path.is_file() and is_needed(name):
            yield str(name), path


def own_files() -> Iterator[tuple[str, Path]]:
    """Yield the files of asyncrep, from the source."""
    package = ROOT / "asyncrep"
    for path in package.rglob("*"):
        parts = path.relative_to(package).parts
        if path.is_file() and parts[0] not in _LEFT_OUT_OF_ASYNCREP and "__pycache__" not in parts:
            yield path.relative_to(ROOT).as_posix(), path


def is_needed(name: PurePosixPath) -> bool:
    """Tell whether a file of a library is needed at run time."""
    parts = name.parts
    if parts[0] in {"..", "bin"} or parts[0].endswith((".dist-info", ".data")) or name.suffix in _NOT_RUN:
        return False
    if {"__pycache__", "tests", "test", "examples"} & set(parts):
        return False
    if parts[:2] in {("botocore", "data"), ("boto3", "data")} and len(parts) > 3:
        return (
            parts[2] in SERVICES and parts[3] not in _OLD_SERVICES and not name.name.startswith("examples-")
        )
    return parts[0] != "boto3" or parts[1] != "examples"


def write(output: Path, files: dict[str, Path]) -> int:
    """Write a zip whose bytes depend on the files alone; return how large they are unpacked."""
    output.parent.mkdir(parents=True, exist_ok=True)
    unpacked = 0
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, path in sorted(files.items()):
            content = path.read_bytes()
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.create_system = 3  # else a zip that is made on Windows would be another one
            entry.external_attr = (0o100755 if ".so" in path.suffixes else 0o100644) << 16
            archive.writestr(entry, content)
            unpacked += len(content)
    return unpacked


if __name__ == "__main__":
    main()
