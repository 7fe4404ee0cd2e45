"""Images from a server, whole, half, wrong and not at all."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchbay_runner.binaries import download as transfer
from patchbay_runner.errors import HostError, InputError
from patchbay_runner.model.vm import MachineOptions
from patchbay_runner.vm.image.download import debian_image, given_image
from patchbay_runner.vm.image.ready import ready
from patchbay_runner.vm.image.store import Store
from patchbay_runner.vm.settings import resolve
from tests.serving import Site, serving
from tests.unit.binaries_support import Told, task

DISK = bytes(510) + b"\x55\xaa" + bytes(range(256)) * 2000
NAME = "debian-13-generic-amd64.qcow2"


@pytest.fixture
def site() -> Iterator[Site]:
    with serving() as found:
        yield found


@pytest.fixture(autouse=True)
def _impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_FIRST_PAUSE_S", 0.01)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "images")


def publish(site: Site, disk: bytes = DISK, *, listed: bytes = DISK, **options: object) -> None:
    digest = hashlib.sha512(listed).hexdigest()
    site.put("/SHA512SUMS", f"{'0' * 128}  debian-13-generic-arm64.qcow2\n{digest}  {NAME}\n".encode())
    site.put(f"/{NAME}", disk, **options)


def test_debians_image_is_downloaded_once_and_checked(site: Site, store: Store) -> None:
    publish(site)
    told = Told()
    image = debian_image(store, "x86_64", task(told), site.url)
    assert image.disk.read_bytes() == DISK
    assert (image.name, image.user, image.kernel) == (NAME, "dev", None)
    assert "cloud-init status --wait" in image.settling[-1]
    assert f"tool: downloading {site.url}/{NAME} 0/{len(DISK)}" in told.starts
    assert debian_image(store, "x86_64", task(), site.url) == image
    assert site.sent[2:] == [0, 0]


def test_a_download_that_breaks_is_gone_on_with(site: Site, store: Store) -> None:
    publish(site, cuts=[100_000, 200_000])
    assert debian_image(store, "x86_64", task(), site.url).disk.read_bytes() == DISK
    ranges = [request.headers.get("Range") for request in site.requests if request.path == f"/{NAME}"]
    assert ranges[0] is None
    assert all(ranges[1:])


def test_an_image_that_debian_did_not_publish_is_refused_and_fetched_anew(site: Site, store: Store) -> None:
    publish(site, DISK + b"more")
    with pytest.raises(HostError, match=f"{NAME} is not the file that was published: its sha512 is"):
        debian_image(store, "x86_64", task(), site.url)
    publish(site)
    assert debian_image(store, "x86_64", task(), site.url).disk.read_bytes() == DISK


def test_a_list_without_the_image_is_no_check(site: Site, store: Store) -> None:
    publish(site)
    site.put("/SHA512SUMS", b"<html>Welcome to this hotel's network</html>")
    with pytest.raises(HostError, match=f"list of checksums says nothing of {NAME}"):
        debian_image(store, "x86_64", task(), site.url)


def test_an_image_that_is_not_there_says_what_else_to_do(site: Site, store: Store) -> None:
    with pytest.raises(HostError, match=r"Debian's image cannot be had: .* answers 404") as caught:
        debian_image(store, "x86_64", task(), site.url)
    assert "patchbay-vm image build" in caught.value.remedy


def test_a_server_that_never_sends_all_of_it_is_given_up(site: Site, store: Store) -> None:
    publish(site, cuts=[0] * 20)
    with pytest.raises(HostError, match=r"Debian's image cannot be had: .* cannot be reached"):
        debian_image(store, "x86_64", task(), site.url)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_an_address_may_bring_its_hash(site: Site, store: Store, algorithm: str) -> None:
    url = site.put("/mine.qcow2", DISK)
    right = hashlib.new(algorithm, DISK).hexdigest()
    image = given_image(store, f"{url}#{algorithm}={right}", "me", task())
    assert (image.name, image.user, image.disk.read_bytes()) == (url, "me", DISK)
    wrong = hashlib.new(algorithm, b"else").hexdigest()
    with pytest.raises(HostError, match=wrong):
        given_image(store, f"{url}#{algorithm}={wrong}", "me", task())


def test_an_address_that_gives_no_disk_is_refused(site: Site, store: Store) -> None:
    url = site.put("/mine.qcow2", b"<html></html>" * 1000)
    with pytest.raises(HostError, match="is no disk image"):
        given_image(store, url, "me", task())


def test_a_file_is_used_where_it_is(store: Store, tmp_path: Path) -> None:
    disk = tmp_path / "disk#1.raw"
    disk.write_bytes(DISK)
    assert given_image(store, str(disk), "me", task()).disk == disk
    hashed = f"{disk}#sha256={hashlib.sha256(DISK).hexdigest()}"
    assert given_image(store, hashed, "me", task()).disk == disk
    with pytest.raises(HostError, match="is not the file that was published"):
        given_image(store, f"{disk}#sha256={'0' * 64}", "me", task())
    assert disk.exists()


@pytest.mark.parametrize("fragment", ["md5=00", "sha256=00", "sha512"])
def test_a_hash_that_is_none_is_refused(store: Store, fragment: str) -> None:
    with pytest.raises(InputError, match=rf"image: found #{fragment} in .*; expected #sha256="):
        given_image(store, f"http://a/b#{fragment}", "me", task())


def test_what_is_asked_for_comes_before_debians(
    site: Site, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchbay_runner.vm.settings.platform.machine", lambda: "x86_64")
    asked = resolve(MachineOptions(image=site.put("/mine.raw", DISK), user="me"), tmp_path, tmp_path)
    assert ready(asked, store, task()).user == "me"


def test_a_full_disk_is_said_to_be_full(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("patchbay_runner.vm.image.ready.given_image", fill)
    settings = resolve(MachineOptions(image="x", user="me"), tmp_path, tmp_path)
    with pytest.raises(HostError, match="No space left on device") as caught:
        ready(settings, store, task())
    assert str(store.root) in caught.value.problem
