"""Images from elsewhere: Debian's for clouds, checked against the list that Debian publishes, and those of others."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urldefrag, urlsplit

from patchbay_runner.binaries.cache import Cache
from patchbay_runner.binaries.download import Fetched, fetch, open_client, shown_url
from patchbay_runner.binaries.progress import Task
from patchbay_runner.errors import BinaryError, Diagnostic, HostError, InputError
from patchbay_runner.vm.image.checks import check_disk, check_sum
from patchbay_runner.vm.image.records import Image
from patchbay_runner.vm.image.store import USER, Store
from patchbay_runner.vm.settings import Architecture

# The kernel of "genericcloud" has no 9p.
DEBIAN_IMAGES = "https://cloud.debian.org/images/cloud/trixie/latest"
_NAMES: dict[Architecture, str] = {
    "x86_64": "debian-13-generic-amd64.qcow2",
    "aarch64": "debian-13-generic-arm64.qcow2",
}
_SUMS = "SHA512SUMS"
_CHECK = re.compile(r"(sha256|sha512)=([0-9A-Fa-f]+)")
_DIGITS = {"sha256": 64, "sha512": 128}
# cloud-init installs packages after SSH has begun to answer. With 2 it ends as it should, after warnings.
_SETTLING = ("sh", "-c", "cloud-init status --wait --long || [ $? = 2 ]")


def debian_image(store: Store, architecture: Architecture, task: Task, base: str = DEBIAN_IMAGES) -> Image:
    """Debian's newest image. Raises HostError when it cannot be had, or is not what Debian says it is."""
    name = _NAMES[architecture]
    cache = Cache(store.downloads)
    with open_client() as client:
        try:
            sums = fetch(f"{base}/{_SUMS}", None, cache, task, client)
            expected = _published(sums.path, name)
            fetched = fetch(f"{base}/{name}", None, cache, task, client)
        except BinaryError as error:
            raise HostError(
                f"Debian's image cannot be had: {error}",
                "patchbay-vm image build, which makes one from Debian's packages; or --image FILE",
            ) from error
    _keep_checked(fetched, name, "sha512", expected)
    return Image(name=name, disk=fetched.path, user=USER, settling=_SETTLING)


def given_image(store: Store, given: str, user: str, task: Task) -> Image:
    """The image that the user names, a file or an address, with "#sha256=" or "#sha512=" and a hash behind it or not.

    Raises InputError for words that mean nothing, and HostError when the image cannot be had or is none.
    """
    place, fragment = urldefrag(given) if _is_address(given) else _split(given)
    algorithm, expected = _check_of(given, fragment)
    if not _is_address(place):
        path = Path(place).expanduser().absolute()
        if algorithm and path.exists():
            check_sum(path, place, algorithm, expected)
        check_disk(path, place)
        return Image(name=place, disk=path, user=user, settling=_SETTLING)
    with open_client() as client:
        try:
            known = expected.lower() if algorithm == "sha256" else None
            fetched = fetch(place, known, Cache(store.downloads), task, client)
        except BinaryError as error:
            raise HostError(f"the image cannot be had: {error}", "another --image, a file or a URL") from error
    _keep_checked(fetched, shown_url(place), algorithm, expected)
    return Image(name=shown_url(place), disk=fetched.path, user=user, settling=_SETTLING)


def _keep_checked(fetched: Fetched, name: str, algorithm: str, expected: str) -> None:
    """Raises HostError for a download that is not what it should be; it is asked for anew the next time."""
    try:
        if algorithm:
            check_sum(fetched.path, name, algorithm, expected)
        check_disk(fetched.path, name)
    except HostError:
        fetched.path.unlink(missing_ok=True)
        raise


def _published(sums: Path, name: str) -> str:
    """The hash of a file in a list as sha512sum writes it."""
    for line in sums.read_text(errors="replace").splitlines():
        digest, _, listed = line.partition(" ")
        if listed.lstrip(" *") == name and len(digest) == _DIGITS["sha512"]:
            return digest
    sums.unlink(missing_ok=True)
    raise HostError(f"Debian's list of checksums says nothing of {name}", "--image FILE, or patchbay-vm image build")


def _is_address(text: str) -> bool:
    return urlsplit(text).scheme.lower() in ("http", "https")


def _split(given: str) -> tuple[str, str]:
    """A file's name may have a number sign in it."""
    place, mark, fragment = given.rpartition("#")
    return (place, fragment) if mark and _CHECK.fullmatch(fragment) else (given, "")


def _check_of(given: str, fragment: str) -> tuple[str, str]:
    if not fragment:
        return "", ""
    match = _CHECK.fullmatch(fragment)
    if match is None or len(match[2]) != _DIGITS[match[1]]:
        expected = "#sha256= with 64 hexadecimal digits behind it, or #sha512= with 128"
        raise InputError([Diagnostic("patchbay-vm", 0, "image", f"found #{fragment} in {shown_url(given)}", expected)])
    return match[1], match[2]
