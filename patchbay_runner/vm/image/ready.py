"""The image that a machine starts from."""

from __future__ import annotations

from patchbay_runner.binaries.progress import Task
from patchbay_runner.vm.image.download import debian_image, given_image
from patchbay_runner.vm.image.records import Image
from patchbay_runner.vm.image.store import Store
from patchbay_runner.vm.settings import Settings


def ready(settings: Settings, store: Store, task: Task) -> Image:
    """The image that was asked for, else the one that was built here last, else Debian's, downloaded.

    Raises HostError and InputError.
    """
    with store.writing():
        if settings.image:
            return given_image(store, settings.image, settings.user, task)
        return store.newest(settings.architecture) or debian_image(store, settings.architecture, task)
