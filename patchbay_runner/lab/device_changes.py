"""What changes the devices of a running network: their links, their place, their addresses."""

from __future__ import annotations

from patchbay_runner.kernel import netlink
from patchbay_runner.lab import replan, requests
from patchbay_runner.lab.carriers import ends_of
from patchbay_runner.lab.running import RunningNetwork
from patchbay_runner.lab.state import spelled
from patchbay_runner.model.links import Direction, LinkCondition
from patchbay_runner.model.topology import Interface


class DeviceChanges(RunningNetwork):
    """A running network whose devices change. Every method returns when the kernel has done it."""

    def link_down(self, device: str, interface: str) -> None:
        """Takes an interface down: nothing is sent or received, what is under way is lost, its routes are gone."""
        self._send(device, [netlink.set_up(self._interface(device, interface).index, up=False)])
        self._links.lose(self._link_port(device, interface))
        self._down.add((device, interface))
        self._changed()
        self._emit("link_down", device=device, iface=interface)

    def link_up(self, device: str, interface: str) -> None:
        """Brings an interface up with the addresses, neighbours and routes that the kernel forgot meanwhile."""
        blueprint = self._interface(device, interface)
        self._send(device, list(requests.member_requests(blueprint)))
        self._await_carriers(*ends_of(blueprint))
        self._down.discard((device, interface))
        self._expect(device)
        self._changed()
        self._emit("link_up", device=device, iface=interface)

    def set_default_route(self, device: str, interface: str) -> None:
        """Moves the default routes of both families. Towards an interface that is down they appear when it is up."""
        self._interface(device, interface)
        self._become(replan.set_default_interface(self._network, device, interface))
        self._emit("default_route_changed", device=device, iface=interface)

    def replug(self, device: str, interface: str, router: str) -> None:
        """Moves an interface to another router's LAN, with new addresses. One that is down stays down."""
        before = self._interface(device, interface).port.lan
        self._links.lift(self._link_port(device, interface))
        self._become(replan.replug(self._network, device, interface, router))
        if (device, interface) not in self._down:
            self._await_carriers(*ends_of(self._interface(device, interface)))
        self._links.restore(self._link_port(device, interface))
        self._emit(
            "interface_replugged",
            device=device,
            iface=interface,
            from_router=before,
            to_router=router,
            **self._new_addresses(device, interface),
        )

    def add_interface(self, device: str, interface: str, router: str) -> None:
        """Plugs a further interface into a router's LAN. The default route stays where it is."""
        self._become(replan.add_interface(self._network, device, Interface(name=interface, gateway=router)))
        self._await_carriers(*ends_of(self._interface(device, interface)))
        self._emit(
            "interface_added", device=device, iface=interface, router=router, **self._new_addresses(device, interface)
        )

    def remove_interface(self, device: str, interface: str) -> None:
        """Takes an interface away; if it was the default one, the first that is left takes its place."""
        port = self._link_port(device, interface)
        changed = replan.remove_interface(self._network, device, interface)
        self._capturing.settle()
        self._links.lift(port)
        self._become(changed)
        self._links.forget(port)
        self._down.discard((device, interface))
        self._emit("interface_removed", device=device, iface_name=interface)

    def renew_address(self, device: str, interface: str) -> None:
        """Gives an interface new addresses on its LAN, as a renewed lease does; its routes stay."""
        self._interface(device, interface)
        self._become(replan.renew_address(self._network, device, interface))
        self._emit("device_ip_changed", device=device, iface_name=interface, **self._new_addresses(device, interface))

    def set_link_condition(
        self, device: str, interface: str, condition: LinkCondition | None, direction: Direction = "up"
    ) -> None:
        """Impairs a device's link, None clears it. `up` is what the device sends, `down` what it receives.

        It stays with the interface through `replug`.
        """
        self._links.set(self._link_port(device, interface), condition, direction)
        self._emit(
            "link_condition_changed", device=device, iface=interface, condition=spelled(condition), direction=direction
        )

    def _new_addresses(self, device: str, interface: str) -> dict[str, str | None]:
        port = self.plan.ports[device, interface]
        return {
            "new_ip": str(port.v4.ip) if port.v4 else None,
            "new_ip_v6": str(port.v6.ip) if port.v6 else None,
        }
