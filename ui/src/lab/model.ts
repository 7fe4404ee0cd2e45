/** The network at one moment, as `state.json` spells it (docs/reference/output.md). */

export type Condition = Readonly<Record<string, number>>;

export interface Addresses {
  readonly ip: string | null;
  readonly ip_v6: string | null;
  readonly ll_v6?: string | null;
  readonly mac?: string | null;
}

export interface RouterPort extends Addresses {
  readonly interface: string;
  readonly cidr?: string | null;
  readonly cidr_v6?: string | null;
}

/** What a NAT or a firewall does, by the keys of a sim's table. */
export type Behaviour = Readonly<Record<string, unknown>>;

export interface Router {
  readonly upstream: string | null;
  readonly region: string | null;
  readonly nat: string;
  readonly nat_table?: Behaviour | null;
  readonly nat_v6: string;
  readonly firewall: string;
  readonly firewall_table?: Behaviour | null;
  readonly ip_support: string;
  readonly mtu: number | null;
  readonly uplink: RouterPort | null;
  readonly downstream: RouterPort | null;
  readonly uplink_condition: Condition | null;
  readonly downlink_condition: Condition | null;
}

export interface Interface extends Addresses {
  readonly name: string;
  readonly router: string;
  readonly up: boolean;
  readonly condition: Condition | null;
  readonly download_condition: Condition | null;
}

export interface Device {
  readonly default_via: string | null;
  readonly mtu: number | null;
  readonly interfaces: readonly Interface[];
}

export interface Region {
  readonly router: string;
  readonly cidr: string | null;
  readonly cidr_v6: string | null;
  readonly routers: readonly string[];
}

export interface RegionLink {
  readonly a: string;
  readonly b: string;
  readonly a_to_b: Condition | null;
  readonly b_to_a: Condition | null;
  readonly broken: boolean;
}

export interface Lab {
  readonly ix: Addresses | null;
  readonly routers: ReadonlyMap<string, Router>;
  readonly devices: ReadonlyMap<string, Device>;
  readonly regions: ReadonlyMap<string, Region>;
  readonly regionLinks: readonly RegionLink[];
}

export const EMPTY_LAB: Lab = {
  ix: null,
  routers: new Map(),
  devices: new Map(),
  regions: new Map(),
  regionLinks: [],
};

/** `state.json` itself: what there is to show where a run's events cannot be replayed. */
export interface StateDocument {
  readonly opid?: number;
  readonly ix?: Addresses | null;
  readonly routers?: Readonly<Record<string, Router>>;
  readonly devices?: Readonly<Record<string, Device>>;
  readonly regions?: Readonly<Record<string, Region>>;
  readonly region_links?: readonly RegionLink[];
}

export function labOfState(state: StateDocument): Lab {
  return {
    ix: state.ix ?? null,
    routers: new Map(Object.entries(state.routers ?? {})),
    devices: new Map(Object.entries(state.devices ?? {})),
    regions: new Map(Object.entries(state.regions ?? {})),
    regionLinks: state.region_links ?? [],
  };
}
