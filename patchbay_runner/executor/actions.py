"""Which coroutine carries out which step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from patchbay_runner.executor import asserting, controlling, generating, network_steps, processes, waiting
from patchbay_runner.executor.interpolation import Resolver
from patchbay_runner.executor.session import Session
from patchbay_runner.model import steps

Action = Callable[[Session, Any, Resolver], Awaitable[None]]

ACTIONS: Mapping[type[steps.Step], Action] = {
    steps.Run: processes.run,
    steps.Spawn: processes.spawn,
    steps.WaitFor: processes.wait_for,
    steps.WaitForCapture: waiting.wait_for_capture,
    steps.Signal: controlling.signal_,
    steps.Stop: controlling.stop,
    steps.Restart: controlling.restart,
    steps.Wait: waiting.wait,
    steps.Assert: asserting.assert_,
    steps.GenCerts: generating.gen_certs,
    steps.GenFile: generating.gen_file,
    steps.LinkDown: network_steps.link_down,
    steps.LinkUp: network_steps.link_up,
    steps.SetDefaultRoute: network_steps.set_default_route,
    steps.SetLinkCondition: network_steps.set_link_condition,
    steps.SetDownlink: network_steps.set_downlink,
    steps.SetUplink: network_steps.set_uplink,
    steps.Replug: network_steps.replug,
    steps.AddInterface: network_steps.add_interface,
    steps.RemoveInterface: network_steps.remove_interface,
    steps.RenewAddress: network_steps.renew_address,
    steps.SetNat: network_steps.set_nat,
    steps.SetNatV6: network_steps.set_nat_v6,
    steps.RebootRouter: network_steps.reboot_router,
    steps.FlushNat: network_steps.flush_nat,
    steps.SetFirewall: network_steps.set_firewall,
    steps.BreakRegionLink: network_steps.break_region_link,
    steps.RestoreRegionLink: network_steps.restore_region_link,
    steps.SetNames: network_steps.set_names,
}
