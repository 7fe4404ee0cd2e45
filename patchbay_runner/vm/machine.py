"""A project's virtual machine: up, down, and what is known of it in between."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from patchbay_runner.errors import HostError
from patchbay_runner.vm import connection, disk, ports, processes, qmp, shares
from patchbay_runner.vm.accelerators import Bench, cache_directory, choose, end_trial
from patchbay_runner.vm.boot import PortTaken, await_guest, check_running, launch, prepare
from patchbay_runner.vm.disk import Origin
from patchbay_runner.vm.guest import Guest
from patchbay_runner.vm.image.records import Image
from patchbay_runner.vm.keys import ensure_key, known_hosts, private_key
from patchbay_runner.vm.programs import find_qemu, find_qemu_img, require_ssh
from patchbay_runner.vm.qemu import Hardware, Kernel, arguments
from patchbay_runner.vm.settings import Settings
from patchbay_runner.vm.ssh import Door
from patchbay_runner.vm.state import Report, Running, State, remove
from patchbay_runner.vm.status import Status, look

# Emulated processors take their time.
_TIMEOUT_S, _EMULATED_TIMEOUT_S = 180.0, 900.0
_POWERDOWN_S, _EMULATED_POWERDOWN_S = 30.0, 60.0
_PATIENCE_S = 10.0
_PORTS_TRIED = 3


class Supply(msgspec.Struct, frozen=True):
    """Where images come from. `seed` writes what a first boot reads to a path, for a user, a public key and a name."""

    image: Callable[[Settings], Image]
    seed: Callable[[Path, str, str, str], Path]


def say_nothing(_line: str) -> None:
    """The report of what nobody wants to hear of."""


class Machine:
    """One machine of one project. Commands that change it wait for each other."""

    def __init__(self, settings: Settings, supply: Supply) -> None:
        self.settings = settings
        self.state = State.of(settings)
        self._supply = supply

    def up(self, *, recreate: bool = False, report: Report = say_nothing) -> Guest:
        """The running guest, booted first if it is not up. Returns when it sees the shared directories.

        With `recreate` it gets a new disk. Raises HostError; a machine that did not come up is gone then, and what it
        said stays.
        """
        require_ssh(self.settings)
        self.state.make()
        with self.state.lock(report) as lock:
            if recreate:
                self._end(report)
                for path in (self.state.origin, self.state.disk, self.state.keys):
                    remove(path)
                self.state.make()
            running = self._running()
            if running is not None:
                self._check_same(running)
            if running is not None and running.is_ready:
                check_running(self.state)
                return self._connected(running)
            try:
                return self._finish(running or self._start(lock, report), report)
            except BaseException:
                self._end(report, keep=(self.state.console, self.state.log))
                raise

    def guest(self) -> Guest:
        """The guest of a machine that is up. Raises HostError when it is not."""
        running = self._running()
        if running is None or not running.is_ready:
            raise HostError(f"the machine {self.settings.name} is not up", "patchbay-vm up")
        return self._connected(running)

    def down(self, report: Report = say_nothing) -> bool:
        """Shuts the guest down; its disk stays. Whether there was something to end."""
        if not self.state.directory.is_dir():
            return False
        with self.state.lock(report):
            was_up = self._running() is not None
            self._end(report)
            return was_up

    def cleanup(self, report: Report = say_nothing) -> list[Path]:
        """Removes what killed commands left, a machine that never came up included. What is up stays as it is."""
        if not self.state.directory.is_dir():
            self._end_unnoted()
            return []
        with self.state.lock(report):
            running = self._running()
            if running is not None and running.is_ready:
                return []
            found = self.state.remains()
            self._end(report)
            return found

    def remove(self, report: Report = say_nothing) -> list[Path]:
        """Removes the disk and the key. Raises HostError while the machine is up."""
        if not self.state.directory.is_dir():
            return []
        with self.state.lock(report):
            if self._running() is not None:
                raise HostError(f"the machine {self.settings.name} is up", "patchbay-vm down")
            removed = [path for path in (self.state.origin, self.state.disk, self.state.keys) if path.exists()]
            for path in removed:
                remove(path)
        return removed

    def status(self) -> Status:
        """What can be known of the machine without touching it."""
        return look(self.settings)

    def _running(self) -> Running | None:
        """What is known of the machine, if its process is alive."""
        return self.state.read() if processes.find(self.state.qemu_note, str(self.state.qmp)) else None

    def _check_same(self, running: Running) -> None:
        """Raises HostError when the machine that is up shares other directories than those that are asked for."""
        shared = {share.guest: share.host for share in running.shares}
        for share in shares.wanted(self.settings):
            if shared.get(share.guest) != share.host:
                found = f"the machine that is up shares {shared.get(share.guest)} as {share.guest}, not {share.host}"
                raise HostError(found, "patchbay-vm down, or another --name")

    def _start(self, lock: int, report: Report) -> Running:
        """Starts the machine; the guest is not waited for."""
        self._end(report)
        self.state.make()
        qemu = find_qemu(self.settings)
        image = self._disk(find_qemu_img(self.settings, qemu)).image
        bench = Bench(self.state.trial, lock)
        cache = cache_directory(os.environ)
        choice = choose(qemu, self.settings.architecture, self.settings.accelerator, cache, bench)
        for each in choice.passed_over:
            report(f"{each.accelerator} does not work here: {each.reason}")
        is_slow = choice.accelerator == "tcg"
        running = Running(
            qemu=str(qemu),
            accelerator=choice.accelerator,
            passed_over=choice.passed_over,
            ssh_port=0,
            user=image.user,
            memory_mb=self.settings.memory_mb,
            processors=self.settings.processors,
            image=image.name,
            shares=shares.offer(self.settings, self.state, qemu, lock),
            started_at=time.time(),
            boot_timeout_s=self.settings.boot_timeout_s or (_EMULATED_TIMEOUT_S if is_slow else _TIMEOUT_S),
        )
        report(f"starting the machine {self.settings.name} ({'emulated' if is_slow else choice.accelerator})")
        return self._launch(running, image, lock)

    def _disk(self, qemu_img: Path) -> Origin:
        return disk.find(self.state) or disk.make(
            self.state, self._supply.image(self.settings), qemu_img, self.settings.disk_gb
        )

    def _launch(self, running: Running, image: Image, lock: int) -> Running:
        seed = self._supply.seed(self.state.seed, image.user, ensure_key(self.state.keys), self.settings.name)
        kernel = Kernel(image.kernel, image.initrd, image.append) if image.kernel else None
        for attempt in range(_PORTS_TRIED):
            port = ports.choose(self.settings.ssh_port)
            running = msgspec.structs.replace(running, ssh_port=port)
            # Before QEMU is there: whoever finds its process is to know what it is.
            self.state.write(running)
            hardware = Hardware(
                qemu=Path(running.qemu),
                name=self.settings.name,
                architecture=self.settings.architecture,
                accelerator=running.accelerator,
                memory_mb=running.memory_mb,
                processors=running.processors,
                ssh_port=port,
                shares=running.shares,
                kernel=kernel,
                seed=seed,
            )
            try:
                launch(arguments(hardware, self.state), self.state, lock, port)
                break
            except PortTaken:
                if self.settings.ssh_port is not None or attempt == _PORTS_TRIED - 1:
                    raise
        return running

    def _finish(self, running: Running, report: Report) -> Guest:
        """Waits for the guest and prepares it."""
        guest = self._guest(running)
        report(f"waiting for the guest, which may take {running.boot_timeout_s:g} s at most")
        await_guest(self.state, guest.door, running.boot_timeout_s)
        prepare(guest, self.state, running)
        self.state.write(msgspec.structs.replace(running, is_ready=True))
        return guest

    def _guest(self, running: Running) -> Guest:
        keys = self.state.keys
        door = Door(
            port=running.ssh_port,
            user=running.user,
            key=private_key(keys),
            known_hosts=known_hosts(keys),
            control=self.state.control,
            name=self.settings.name,
        )
        return Guest(door, running.shares, is_root=os.getuid() == 0)

    def _connected(self, running: Running) -> Guest:
        guest = self._guest(running)
        if not connection.is_open(guest.door):
            await_guest(self.state, guest.door, _TIMEOUT_S)
        return guest

    def _end(self, report: Report, keep: tuple[Path, ...] = ()) -> None:
        """Ends the machine, gently when it is up, and removes all that it leaves but its disk, its key and `keep`."""
        note, mark = self.state.qemu_note, str(self.state.qmp)
        running = self._running()
        if running is not None and running.is_ready:
            report(f"shutting down the machine {self.settings.name}")
            patience_s = _EMULATED_POWERDOWN_S if running.accelerator == "tcg" else _POWERDOWN_S
            if self._is_told_to_power_off(running):
                processes.has_ended(note, mark, patience_s)
        if running is not None:
            connection.close(self._guest(running).door)
        processes.end(note, mark, _PATIENCE_S)
        self._end_unnoted()
        end_trial(self.state.trial)
        shares.end(self.state)
        self.state.clean(keep)

    def _is_told_to_power_off(self, running: Running) -> bool:
        """By its own command, and by the button: not every guest heeds one."""
        is_told = connection.power_off(self._guest(running).door)
        try:
            with qmp.Qmp(self.state.qmp) as control:
                control.ask("system_powerdown")
        except OSError:
            return is_told  # its socket is gone
        return True

    def _end_unnoted(self) -> None:
        """Ends a machine whose directory was removed while it was up: its socket lies elsewhere."""
        try:
            with qmp.Qmp(self.state.qmp) as control:
                control.ask("quit")
        except OSError:
            return
