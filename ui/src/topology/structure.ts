import type { Lab } from "../lab/model";

/** What the layout depends on: who hangs below whom at any time of the run, so that a replay moves nothing. */
export interface Structure {
  readonly hasIx: boolean;
  readonly regions: readonly string[];
  readonly routers: readonly RouterPlace[];
  readonly devices: readonly DevicePlace[];
}

export interface RouterPlace {
  readonly name: string;
  /** A node's id, null for a router without an upstream. */
  readonly parent: string | null;
}

export interface DevicePlace {
  readonly name: string;
  readonly routers: readonly string[];
}

export const IX = "ix";
export const regionId = (name: string) => `region:${name}`;
export const routerId = (name: string) => `router:${name}`;
export const deviceId = (name: string) => `device:${name}`;

/** The kind and name in a node's id; null for what is none. */
export function nodeOfId(id: string): { kind: "ix" | "region" | "router" | "device"; name: string } | null {
  if (id === IX) return { kind: "ix", name: "IX" };
  const match = /^(region|router|device):(.+)$/s.exec(id);
  return match ? { kind: match[1] as "region" | "router" | "device", name: match[2] as string } : null;
}

/** The id of a node by the name that logs and events have for it; null when there is none. */
export function idOfNode(lab: Lab, name: string): string | null {
  if (lab.devices.has(name)) return deviceId(name);
  if (lab.routers.has(name)) return routerId(name);
  const region = [...lab.regions].find(([, each]) => each.router === name);
  return region ? regionId(region[0]) : null;
}

/** The structure of a network whose devices have been plugged into `attachments` in the course of time. */
export function structureOf(lab: Lab, attachments: ReadonlyMap<string, ReadonlySet<string>>): Structure {
  const plugged = (name: string): readonly string[] => {
    const now = lab.devices.get(name)?.interfaces.map(({ router }) => router) ?? [];
    return [...new Set([...(attachments.get(name) ?? []), ...now])].filter((router) => lab.routers.has(router));
  };
  return {
    hasIx: lab.ix !== null,
    regions: [...lab.regions.keys()],
    routers: [...lab.routers.keys()].map((name) => ({ name, parent: parentOf(lab, name) })),
    devices: [...lab.devices.keys()].map((name) => ({ name, routers: plugged(name) })),
  };
}

/** The id of what a router's uplink leads to. */
export function parentOf(lab: Lab, name: string): string | null {
  const router = lab.routers.get(name);
  if (!router?.uplink) return null;
  if (router.upstream) return routerId(router.upstream);
  return router.region && lab.regions.has(router.region) ? regionId(router.region) : IX;
}
