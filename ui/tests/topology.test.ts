import { describe, expect, it } from "vitest";
import type { Device, Interface, Lab, Router } from "../src/lab/model";
import { EMPTY_LAB } from "../src/lab/model";
import { curveOf, dropped, linksOf } from "../src/topology/edges";
import { type Box, layoutOf } from "../src/topology/layout";
import { deviceId, IX, nodeOfId, regionId, routerId, structureOf } from "../src/topology/structure";

const nowhere = { ip: null, ip_v6: null };

function router(fields: Partial<Router> = {}): Router {
  return {
    upstream: null,
    region: null,
    nat: "none",
    nat_v6: "none",
    firewall: "none",
    ip_support: "dual-stack",
    mtu: null,
    uplink: { interface: "ix", ...nowhere },
    downstream: { interface: "lan", ...nowhere },
    uplink_condition: null,
    downlink_condition: null,
    ...fields,
  };
}

function device(...routers: string[]): Device {
  const interfaces = routers.map((name, n): Interface => ({
    name: `eth${n}`,
    router: name,
    up: true,
    ...nowhere,
    condition: null,
    download_condition: null,
  }));
  return { default_via: "eth0", mtu: null, interfaces };
}

function lab(routers: Record<string, Router>, devices: Record<string, Device>, more: Partial<Lab> = {}): Lab {
  const maps = { routers: new Map(Object.entries(routers)), devices: new Map(Object.entries(devices)) };
  return { ...EMPTY_LAB, ix: nowhere, ...maps, ...more };
}

function overlap(one: Box, other: Box): boolean {
  return (
    one.x < other.x + other.width &&
    other.x < one.x + one.width &&
    one.y < other.y + other.height &&
    other.y < one.y + one.height
  );
}

function expectApart(boxes: ReadonlyMap<string, Box>): void {
  const all = [...boxes];
  for (const [index, [id, box]] of all.entries())
    for (const [otherId, other] of all.slice(index + 1))
      expect([id, otherId, overlap(box, other)]).toEqual([id, otherId, false]);
}

const HANDOVER = lab(
  { dc: router(), wifi: router({ nat: "home" }), cell: router({ nat: "cgnat" }), deep: router({ upstream: "cell" }) },
  { server: device("dc"), phone: device("wifi", "cell"), lone: device("deep") },
);

describe("layout", () => {
  it("has the exchange on top, and everything below what it hangs on", () => {
    const { boxes } = layoutOf(structureOf(HANDOVER, new Map()));
    const y = (id: string) => boxes.get(id)?.y ?? Number.NaN;
    expect(y(IX)).toBe(0);
    expect(y(routerId("wifi"))).toBeGreaterThan(y(IX));
    expect(y(routerId("deep"))).toBeGreaterThan(y(routerId("cell")));
    expect(y(deviceId("phone"))).toBeGreaterThan(y(routerId("wifi")));
    expect(boxes.size).toBe(8);
    expectApart(boxes);
  });

  it("does not move anything when a device is plugged elsewhere and back", () => {
    const attachments = new Map([["server", new Set(["dc", "wifi"])]]);
    const moved = lab(Object.fromEntries(HANDOVER.routers), {
      ...Object.fromEntries(HANDOVER.devices),
      server: device("wifi"),
    });
    expect(layoutOf(structureOf(moved, attachments))).toEqual(layoutOf(structureOf(HANDOVER, attachments)));
  });

  it("frames many devices of one LAN and keeps 200 nodes in the shape of a screen", () => {
    const routers = Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`r${n}`, router()]));
    const few = Array.from({ length: 130 }, (_, n) => [`d${n}`, device(`r${n % 39}`)] as const);
    const many = Array.from({ length: 30 }, (_, n) => [`m${n}`, device("r39")] as const);
    const { boxes, frames, width, height } = layoutOf(
      structureOf(lab(routers, Object.fromEntries([...few, ...many])), new Map()),
    );
    expect(boxes.size).toBe(201);
    expect([...frames.keys()]).toEqual([routerId("r39")]);
    expect(width / height).toBeGreaterThan(0.8);
    expect(width / height).toBeLessThan(4);
    expectApart(boxes);
  });

  it("has a place for routers without an upstream and devices without a router", () => {
    const { boxes } = layoutOf(structureOf(lab({ alone: router({ uplink: null }) }, { stray: device() }), new Map()));
    expect([...boxes.keys()].sort()).toEqual([deviceId("stray"), IX, routerId("alone")].sort());
  });

  it("of nothing is empty", () => {
    expect(layoutOf(structureOf(EMPTY_LAB, new Map())).boxes.size).toBe(0);
  });
});

describe("links", () => {
  const region = (name: string) => ({ router: `region_${name}`, cidr: null, cidr_v6: null, routers: [] });
  const regions = new Map(["eu", "us", "asia"].map((name) => [name, region(name)]));
  const clear = { a_to_b: null, b_to_a: null, broken: false };
  const regionLinks = [
    { a: "eu", b: "us", ...clear },
    { a: "eu", b: "asia", ...clear, broken: true },
  ];
  const world = lab({ paris: router({ region: "eu" }) }, { laptop: device("paris") }, { regions, regionLinks });

  it("lead from routers to their region, and between regions with the counters of both ends", () => {
    const links = linksOf(world, new Set());
    expect(links.find(({ id }) => id === "router:paris/uplink")?.from).toBe(regionId("eu"));
    const broken = links.find(({ id }) => id === "link:eu/asia");
    expect(broken).toMatchObject({ isUp: false, counters: ["region_eu.link2", "region_asia.link2"] });
    const counts = { total: { up: {}, down: { dropped: 3 } }, recent: null, intervalS: 1 };
    expect(broken && dropped(broken, new Map([["region_asia.link2", counts]]))).toBe(3);
  });

  it("are down with their interface and while their router reboots", () => {
    const isUp = (lab: Lab, rebooting: string[]) =>
      linksOf(lab, new Set(rebooting)).find(({ id }) => id === "device:phone/eth0")?.isUp;
    expect(isUp(HANDOVER, [])).toBe(true);
    expect(isUp(HANDOVER, ["wifi"])).toBe(false);
  });

  it("all have a way through the picture", () => {
    const layout = layoutOf(structureOf(world, new Map()));
    for (const link of linksOf(world, new Set()))
      expect(curveOf(link, layout, 0, 1)?.path).toMatch(/^M[\d.-]+,[\d.-]+ [CL]/);
  });
});

it("ids of nodes are read back, whatever is in a name", () => {
  expect(nodeOfId(deviceId("a:b/c"))).toEqual({ kind: "device", name: "a:b/c" });
  expect(nodeOfId(IX)?.kind).toBe("ix");
  for (const id of ["", "x", "device:", "link:a/b"]) expect(nodeOfId(id)).toBeNull();
});
