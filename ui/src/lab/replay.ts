import { countUntil, number, type RunEvent, text, textOrNull } from "./events";
import {
  type Addresses,
  type Behaviour,
  type Condition,
  type Device,
  EMPTY_LAB,
  type Interface,
  type Lab,
  type Region,
  type RegionLink,
  type Router,
} from "./model";

/** One reducer a kind; every other kind leaves the network as it is. */
type Reducer = (lab: Lab, event: RunEvent) => Lab;

const REDUCERS: Readonly<Record<string, Reducer>> = {
  ix_created: (lab, event) => ({ ...lab, ix: event.fields as unknown as Addresses }),
  router_added: (lab, event) => ({ ...lab, routers: added<Router>(lab.routers, event) }),
  device_added: (lab, event) => ({ ...lab, devices: added<Device>(lab.devices, event) }),
  region_added: (lab, event) => ({ ...lab, regions: added<Region>(lab.regions, event) }),
  router_removed: (lab, event) => ({ ...lab, routers: removed(lab.routers, event) }),
  device_removed: (lab, event) => ({ ...lab, devices: removed(lab.devices, event) }),
  region_link_added: (lab, event) => ({
    ...lab,
    regionLinks: [...lab.regionLinks, event.fields as unknown as RegionLink],
  }),
  region_link_broken: (lab, event) => withRegionLink(lab, event, true),
  region_link_restored: (lab, event) => withRegionLink(lab, event, false),
  link_down: (lab, event) => withInterface(lab, event, "iface", () => ({ up: false })),
  link_up: (lab, event) => withInterface(lab, event, "iface", () => ({ up: true })),
  interface_replugged: (lab, event) =>
    withInterface(lab, event, "iface", () => ({ router: text(event, "to_router"), ...newAddresses(event) })),
  interface_added: addInterface,
  interface_removed: removeInterface,
  device_ip_changed: (lab, event) => withInterface(lab, event, "iface_name", () => newAddresses(event)),
  default_route_changed: (lab, event) =>
    withDevice(lab, event, (device) => ({ ...device, default_via: text(event, "iface") })),
  link_condition_changed: (lab, event) => withInterface(lab, event, "iface", () => newConditions(event)),
  uplink_condition_changed: (lab, event) => withRouter(lab, event, { uplink_condition: condition(event) }),
  downlink_condition_changed: (lab, event) => withRouter(lab, event, { downlink_condition: condition(event) }),
  nat_changed: (lab, event) =>
    withRouter(lab, event, { nat: text(event, "nat"), nat_table: behaviour(event, "nat_table") }),
  nat_v6_changed: (lab, event) => withRouter(lab, event, { nat_v6: text(event, "nat_v6") }),
  firewall_changed: (lab, event) =>
    withRouter(lab, event, {
      firewall: text(event, "firewall"),
      firewall_table: behaviour(event, "firewall_table"),
    }),
};

export function changesNetwork(kind: string): boolean {
  return Object.hasOwn(REDUCERS, kind);
}

export function applyEvent(lab: Lab, event: RunEvent): Lab {
  return changesNetwork(event.kind) ? (REDUCERS[event.kind] as Reducer)(lab, event) : lab;
}

const BUILDING = new Set(["ix_created", "router_added", "device_added", "region_added", "region_link_added"]);
const PLUGGING = new Set(["device_added", "interface_replugged", "interface_added"]);
const EVENTS_A_SNAPSHOT = 256;

/** The network at any moment of a run. Events are added as they come; a moment costs at most a snapshot's events. */
export class Replay {
  private readonly changes: RunEvent[] = [];
  private readonly snapshots: Lab[] = [EMPTY_LAB];
  private readonly reboots: { router: string; from: number; until: number }[] = [];
  private readonly plugged = new Map<string, Set<string>>();
  /** Everything that was there at some time, as it was last. */
  private ever: Lab = EMPTY_LAB;
  private latest: Lab = EMPTY_LAB;
  private firstStepAt = Number.POSITIVE_INFINITY;

  add(events: Iterable<RunEvent>): void {
    for (const event of events) {
      if (event.kind === "step_started") this.firstStepAt = Math.min(this.firstStepAt, event.at);
      if (event.kind === "router_rebooted") this.addReboot(event);
      if (!changesNetwork(event.kind)) continue;
      this.latest = applyEvent(this.latest, event);
      if (!event.kind.endsWith("_removed")) this.ever = applyEvent(this.ever, event);
      this.changes.push(event);
      if (PLUGGING.has(event.kind)) this.notePlugs(text(event, "device") || text(event, "name"));
      if (this.changes.length % EVENTS_A_SNAPSHOT === 0) this.snapshots.push(this.latest);
    }
  }

  /** The network after everything that has happened until `at`; the newest one for null. */
  labAt(at: number | null): Lab {
    if (at === null) return this.latest;
    const count = countUntil(this.changes, at);
    const snapshot = Math.floor(count / EVENTS_A_SNAPSHOT);
    let lab = this.snapshots[snapshot] ?? EMPTY_LAB;
    for (const event of this.changes.slice(snapshot * EVENTS_A_SNAPSHOT, count)) lab = applyEvent(lab, event);
    return lab;
  }

  /** Routers that are being rebooted at a moment. The record tells of a reboot when the router is back. */
  rebootingAt(at: number): ReadonlySet<string> {
    return new Set(this.reboots.filter(({ from, until }) => from <= at && at < until).map(({ router }) => router));
  }

  /** The routers that each device has been plugged into at some time. */
  attachments(): ReadonlyMap<string, ReadonlySet<string>> {
    return this.plugged;
  }

  /** Everything that was there at some time: what a picture that nothing moves in has to have room for. */
  everything(): Lab {
    return this.ever;
  }

  /** The last change until a moment. */
  changeBefore(at: number | null): RunEvent | null {
    const count = at === null ? this.changes.length : countUntil(this.changes, at);
    return this.changes[count - 1] ?? null;
  }

  /** The moments at which something changes after the network was built, for marks and jumps. */
  moments(): number[] {
    return this.changes.filter(({ kind, at }) => !BUILDING.has(kind) || at > this.firstStepAt).map(({ at }) => at);
  }

  private notePlugs(device: string): void {
    const routers = this.plugged.get(device) ?? new Set<string>();
    for (const each of this.latest.devices.get(device)?.interfaces ?? []) routers.add(each.router);
    this.plugged.set(device, routers);
  }

  private addReboot(event: RunEvent): void {
    const downFor = (number(event, "down_for_s") ?? 0) * 1000;
    this.reboots.push({ router: text(event, "router"), from: event.at - downFor, until: event.at });
  }
}

function added<T>(known: ReadonlyMap<string, T>, event: RunEvent): ReadonlyMap<string, T> {
  const { name, ...rest } = event.fields;
  return new Map(known).set(String(name), rest as T);
}

function removed<T>(known: ReadonlyMap<string, T>, event: RunEvent): ReadonlyMap<string, T> {
  const left = new Map(known);
  left.delete(text(event, "name"));
  return left;
}

function withRouter(lab: Lab, event: RunEvent, changed: Partial<Router>): Lab {
  const name = text(event, "router");
  const router = lab.routers.get(name);
  return router ? { ...lab, routers: new Map(lab.routers).set(name, { ...router, ...changed }) } : lab;
}

function withDevice(lab: Lab, event: RunEvent, change: (device: Device) => Device): Lab {
  const name = text(event, "device");
  const device = lab.devices.get(name);
  return device ? { ...lab, devices: new Map(lab.devices).set(name, change(device)) } : lab;
}

function withInterface(lab: Lab, event: RunEvent, field: string, change: () => Partial<Interface>): Lab {
  const name = text(event, field);
  return withDevice(lab, event, (device) => ({
    ...device,
    interfaces: device.interfaces.map((each) => (each.name === name ? { ...each, ...change() } : each)),
  }));
}

function addInterface(lab: Lab, event: RunEvent): Lab {
  const plugged: Interface = {
    name: text(event, "iface"),
    router: text(event, "router"),
    up: true,
    condition: null,
    download_condition: null,
    ...newAddresses(event),
  };
  return withDevice(lab, event, (device) => ({
    ...device,
    default_via: device.default_via ?? plugged.name,
    interfaces: [...device.interfaces.filter((each) => each.name !== plugged.name), plugged],
  }));
}

/** When the default interface goes, the first that is left takes its place, as in the lab itself. */
function removeInterface(lab: Lab, event: RunEvent): Lab {
  const name = text(event, "iface_name");
  return withDevice(lab, event, (device) => {
    const interfaces = device.interfaces.filter((each) => each.name !== name);
    const default_via = device.default_via === name ? (interfaces[0]?.name ?? null) : device.default_via;
    return { ...device, interfaces, default_via };
  });
}

function withRegionLink(lab: Lab, event: RunEvent, broken: boolean): Lab {
  const ends = new Set([text(event, "a"), text(event, "b")]);
  const regionLinks = lab.regionLinks.map((link) =>
    ends.has(link.a) && ends.has(link.b) ? { ...link, broken } : link,
  );
  return { ...lab, regionLinks };
}

/** The link-local address stays: it follows from the interface's hardware address. */
function newAddresses(event: RunEvent): Addresses {
  return { ip: textOrNull(event, "new_ip"), ip_v6: textOrNull(event, "new_ip_v6") };
}

function condition(event: RunEvent): Condition | null {
  return (event.fields.condition as Condition | null | undefined) ?? null;
}

/** Records of older versions have none. */
function behaviour(event: RunEvent, field: string): Behaviour | null {
  return (event.fields[field] as Behaviour | null | undefined) ?? null;
}

function newConditions(event: RunEvent): Partial<Interface> {
  const asked = condition(event);
  const direction = text(event, "direction") || "up";
  if (direction === "both") return { condition: asked, download_condition: asked };
  return direction === "up" ? { condition: asked } : { download_condition: asked };
}
