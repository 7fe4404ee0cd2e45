import { describe, expect, it } from "vitest";
import { behaviourRows } from "../src/lab/behaviours";
import { bothWays, conditionLabel } from "../src/lab/conditions";
import { activityAt, metricsSample } from "../src/lab/counters";
import { countUntil, type RunEvent, runEvent } from "../src/lab/events";
import type { StateDocument } from "../src/lab/model";
import { labOfState } from "../src/lab/model";
import { Replay } from "../src/lab/replay";
import { momentOfNumber, parseMoment } from "../src/lab/time";

const START = Date.UTC(2026, 2, 13, 12);
const addresses = { ip: "198.18.0.10", ip_v6: "2001:db8::10", ll_v6: "fe80::1", mac: "02:70:62:00:00:01" };
const router = {
  upstream: null,
  region: null,
  nat: "none",
  nat_v6: "none",
  firewall: "none",
  ip_support: "dual-stack",
  mtu: null,
  uplink: { interface: "ix", ...addresses },
  downstream: { interface: "lan", cidr: "10.0.1.0/24", cidr_v6: null, ...addresses },
  uplink_condition: null,
  downlink_condition: null,
};
const wlan0 = { name: "wlan0", router: "wifi", up: true, ...addresses, condition: null, download_condition: null };

let opid = 0;
/** An event `ms` after the start, by way of the JSON that the record has. */
function event(ms: number, kind: string, fields: Record<string, unknown> = {}): RunEvent {
  const timestamp = new Date(START + ms).toISOString().replace("Z", "000Z");
  return runEvent({ opid: opid++, timestamp, kind, ...fields }) as RunEvent;
}

function network(): RunEvent[] {
  return [
    event(0, "sim_started", { sim: "s" }),
    event(1, "ix_created", { bridge: "ix", ...addresses }),
    event(2, "router_added", { name: "wifi", ...router, nat: "home" }),
    event(2, "router_added", { name: "cell", ...router }),
    event(3, "device_added", { name: "phone", default_via: "wlan0", mtu: null, interfaces: [wlan0] }),
  ];
}

function replayOf(...changes: RunEvent[]): Replay {
  const replay = new Replay();
  replay.add([...network(), ...changes]);
  return replay;
}

describe("the network at a moment", () => {
  it("is empty before the first event and whole after the last", () => {
    const replay = replayOf();
    expect(replay.labAt(START - 1).routers.size).toBe(0);
    expect([...replay.labAt(null).routers.keys()]).toEqual(["wifi", "cell"]);
    expect(replay.labAt(null).devices.get("phone")?.interfaces).toEqual([wlan0]);
  });

  it("follows modes of NAT and firewall, each from its event on", () => {
    const replay = replayOf(
      event(100, "nat_changed", { router: "wifi", nat: "corporate", nat_table: { hairpin: false } }),
      event(200, "nat_v6_changed", { router: "wifi", nat_v6: "nptv6" }),
      event(300, "firewall_changed", { router: "wifi", firewall: "block-inbound" }),
      event(400, "firewall_changed", { router: "wifi", firewall: "custom", firewall_table: { allow_tcp: [80] } }),
    );
    const at = (ms: number) => replay.labAt(START + ms).routers.get("wifi");
    expect(at(99)?.nat).toBe("home");
    expect(at(100)).toMatchObject({ nat: "corporate", nat_table: { hairpin: false } });
    expect(at(250)).toMatchObject({ nat_v6: "nptv6", firewall: "none" });
    expect(at(300)).toMatchObject({ firewall: "block-inbound", firewall_table: null });
    expect(at(400)).toMatchObject({ firewall: "custom", firewall_table: { allow_tcp: [80] } });
  });

  it("says what NATs and firewalls do by the words of their tables", () => {
    const table = { mapping: "endpoint-dependent", hairpin: true, udp_timeout: 30, port_range: [1024, 2047] };
    expect(behaviourRows(table)).toEqual([
      ["mapping", "endpoint-dependent"],
      ["hairpin", "yes"],
      ["udp timeout", "30 s"],
      ["port range", "1024–2047"],
    ]);
    const firewall = { block_inbound: false, allow_tcp: [80, 443], allow_udp: [] };
    expect(behaviourRows(firewall).map(([, words]) => words)).toEqual(["no", "ports 80, 443 only", "nothing"]);
    expect(behaviourRows(null)).toEqual([]);
  });

  it("follows interfaces: down and up, replugged, added, removed, with new addresses", () => {
    const replay = replayOf(
      event(100, "link_down", { device: "phone", iface: "wlan0" }),
      event(200, "link_up", { device: "phone", iface: "wlan0" }),
      event(300, "interface_replugged", {
        device: "phone",
        iface: "wlan0",
        to_router: "cell",
        new_ip: "10.9.0.2",
        new_ip_v6: null,
      }),
      event(400, "interface_added", {
        device: "phone",
        iface: "eth0",
        router: "wifi",
        new_ip: "10.0.1.3",
        new_ip_v6: null,
      }),
      event(500, "default_route_changed", { device: "phone", iface: "eth0" }),
      event(600, "device_ip_changed", { device: "phone", iface_name: "eth0", new_ip: "10.0.1.4", new_ip_v6: null }),
      event(700, "interface_removed", { device: "phone", iface_name: "eth0" }),
    );
    const at = (ms: number) => replay.labAt(START + ms).devices.get("phone");
    expect(at(150)?.interfaces[0]?.up).toBe(false);
    expect(at(250)?.interfaces[0]?.up).toBe(true);
    expect(at(300)?.interfaces[0]).toMatchObject({ router: "cell", ip: "10.9.0.2", ip_v6: null, mac: wlan0.mac });
    expect(at(400)?.interfaces[1]).toMatchObject({ name: "eth0", router: "wifi", up: true });
    expect(at(500)?.default_via).toBe("eth0");
    expect(at(600)?.interfaces[1]?.ip).toBe("10.0.1.4");
    expect(at(700)?.interfaces.map(({ name }) => name)).toEqual(["wlan0"]);
    expect(at(700)?.default_via).toBe("wlan0");
  });

  it("keeps both directions of a condition apart", () => {
    const slow = { latency_ms: 40 };
    const fields = { device: "phone", iface: "wlan0" };
    const replay = replayOf(
      event(100, "link_condition_changed", { ...fields, condition: slow, direction: "both" }),
      event(200, "link_condition_changed", { ...fields, condition: null, direction: "up" }),
      event(300, "link_condition_changed", { ...fields, condition: null, direction: "down" }),
      event(400, "uplink_condition_changed", { router: "wifi", condition: slow }),
    );
    const at = (ms: number) => replay.labAt(START + ms).devices.get("phone")?.interfaces[0];
    expect(at(100)).toMatchObject({ condition: slow, download_condition: slow });
    expect(at(200)).toMatchObject({ condition: null, download_condition: slow });
    expect(at(300)).toMatchObject({ condition: null, download_condition: null });
    expect(replay.labAt(null).routers.get("wifi")?.uplink_condition).toEqual(slow);
  });

  it("breaks and restores a region's link whichever way round it is named", () => {
    const link = { a: "eu", b: "us", a_to_b: null, b_to_a: null, broken: false };
    const replay = replayOf(
      event(10, "region_link_added", link),
      event(100, "region_link_broken", { a: "us", b: "eu" }),
      event(200, "region_link_restored", { a: "eu", b: "us" }),
    );
    expect(replay.labAt(START + 150).regionLinks[0]?.broken).toBe(true);
    expect(replay.labAt(START + 200).regionLinks[0]?.broken).toBe(false);
  });

  it("loses what is removed, and still knows what there was", () => {
    const replay = replayOf(
      event(100, "device_removed", { name: "phone" }),
      event(200, "router_removed", { name: "cell" }),
    );
    expect(replay.labAt(null).devices.size).toBe(0);
    expect([...replay.labAt(null).routers.keys()]).toEqual(["wifi"]);
    expect([...replay.everything().routers.keys()]).toEqual(["wifi", "cell"]);
    expect(replay.labAt(START + 50).devices.has("phone")).toBe(true);
  });

  it("knows that a router was away while it rebooted", () => {
    const replay = replayOf(event(2000, "router_rebooted", { router: "wifi", down_for_s: 1.5 }));
    expect(replay.rebootingAt(START + 499).size).toBe(0);
    expect([...replay.rebootingAt(START + 500)]).toEqual(["wifi"]);
    expect(replay.rebootingAt(START + 2000).size).toBe(0);
  });

  it("is the same over snapshots as without them, in whatever pieces events come", () => {
    const modes = ["home", "corporate", "cgnat"];
    const changes = Array.from({ length: 1000 }, (_, n) =>
      event(100 + n, "nat_changed", { router: "wifi", nat: modes[n % 3] }),
    );
    const replay = replayOf();
    for (let from = 0; from < changes.length; from += 7) replay.add(changes.slice(from, from + 7));
    for (const n of [0, 1, 254, 255, 256, 511, 512, 999])
      expect(replay.labAt(START + 100 + n).routers.get("wifi")?.nat).toBe(modes[n % 3]);
  });

  it("leaves changes of nodes that nobody has named alone", () => {
    const replay = replayOf(
      event(100, "nat_changed", { router: "ghost", nat: "home" }),
      event(101, "link_up", { device: "ghost", iface: "x" }),
    );
    expect([...replay.labAt(null).routers.keys()]).toEqual(["wifi", "cell"]);
  });

  it("can be read from state.json as well", () => {
    const state: StateDocument = {
      ix: addresses,
      routers: { wifi: router },
      devices: {},
      regions: {},
      region_links: [],
    };
    expect(labOfState(state).routers.get("wifi")).toBe(router);
    expect(labOfState({}).devices.size).toBe(0);
  });
});

describe("moments", () => {
  it("keep the microseconds", () => {
    const whole = parseMoment("2026-03-13T12:00:00Z") as number;
    expect((parseMoment("2026-03-13T12:00:00.123456Z") as number) - whole).toBeCloseTo(123.456, 3);
    expect((parseMoment("2026-03-13T12:00:00.123456789Z") as number) - whole).toBeCloseTo(123.457, 3);
  });

  it("are read in every spelling that loggers have", () => {
    const noon = START;
    for (const text of [
      "2026-03-13T12:00:00Z",
      "2026-03-13 12:00:00",
      "2026-03-13T13:00:00+01:00",
      "2026-03-13T13:00:00.0+0100",
    ])
      expect(parseMoment(text)).toBe(noon);
    expect(parseMoment("2026-03-13 12:00:00,250")).toBe(noon + 250);
    for (const text of ["", "noon", "12:00:00", "2026-13-99T99:00:00Z"]) expect(parseMoment(text)).toBeNull();
  });

  it("are counted in whichever unit", () => {
    for (const perMs of [1e-3, 1, 1e3, 1e6]) expect(momentOfNumber(START * perMs)).toBeCloseTo(START, 0);
    expect(momentOfNumber(1e30)).toBeNull();
  });

  it("find how much has happened", () => {
    const items = [1, 2, 2, 5].map((at) => ({ at }));
    expect([0, 1, 2, 4, 5, 9].map((at) => countUntil(items, at))).toEqual([0, 1, 3, 3, 4, 4]);
  });
});

describe("conditions as labels", () => {
  it("say what a link costs", () => {
    expect(conditionLabel({ latency_ms: 40, jitter_ms: 15, loss_pct: 2, rate_kbit: 20000 })).toBe(
      "40 ms ±15, 2 % loss, 20 Mbit/s",
    );
    expect(conditionLabel({ loss_pct: 1, loss_burst: 3 })).toBe("1 % loss in bursts of 3");
    expect(conditionLabel(null)).toBe("");
  });

  it("say it once for both directions where it is the same", () => {
    const slow = { latency_ms: 40 };
    expect(bothWays(slow, slow, ["↑", "↓"])).toBe("40 ms");
    expect(bothWays(slow, null, ["↑", "↓"])).toBe("↑ 40 ms");
    expect(bothWays(slow, { latency_ms: 1 }, ["↑", "↓"])).toBe("↑ 40 ms  ↓ 1 ms");
  });
});

describe("counters", () => {
  const line = (s: number, packets: number, dropped = 0) =>
    metricsSample({
      timestamp: new Date(START + s * 1000).toISOString(),
      interval_s: 1,
      links: { "phone.wlan0": { up: { packets, dropped, delay_ms: 5 } } },
    });

  it("add up until a moment, and show what the last second brought", () => {
    const samples = [line(1, 10), line(2, 5, 2), line(4, 1)].flatMap((sample) => sample ?? []);
    const at = activityAt(samples, START + 2500).get("phone.wlan0");
    expect(at?.total.up).toEqual({ packets: 15, dropped: 2 });
    expect(at?.recent?.up?.packets).toBe(5);
    expect(activityAt(samples, null).get("phone.wlan0")?.total.up).toEqual({ packets: 16, dropped: 2 });
    expect(activityAt(samples, START).size).toBe(0);
  });

  it("leave torn lines out", () => {
    for (const line of [null, 3, {}, { timestamp: "x", interval_s: 1, links: {} }])
      expect(metricsSample(line)).toBeNull();
  });
});
