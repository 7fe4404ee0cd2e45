"""Sims that the command line names, as a guest finds them."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import msgspec

from patchbay_runner.vm.staging import APP, Place, are_shared, in_app, stage_sims


class Named(msgspec.Struct, frozen=True):
    """Sims as they were named, and the files that they consist of."""

    texts: tuple[str, ...]
    files: tuple[Path, ...]


def place_sims(
    guest: Place, named: Named, workspace: Path, app: PurePosixPath = APP
) -> tuple[PurePosixPath, list[str]]:
    """The working directory in the guest, and how the sims are named there: relative to it where they are so here.

    Messages keep their words thereby, at best where `app`, the guest's place of the workspace, is called as it is here.
    What the guest does not see of the files is copied to it.
    """
    cwd = Path.cwd()
    if are_shared([*named.files, cwd], workspace):
        return in_app(cwd, workspace, app), [
            str(in_app(Path(text), workspace, app)) if Path(text).is_absolute() else text for text in named.texts
        ]
    root = stage_sims(guest, named.files, cwd)
    below = [str(root) + text if Path(text).is_absolute() else text for text in named.texts]
    return root.joinpath(*cwd.parts[1:]), below
