import type { LinkActivity } from "../lab/counters";
import type { Condition, Lab } from "../lab/model";
import type { Box, Layout } from "./layout";
import { deviceId, IX, parentOf, regionId, routerId } from "./structure";

/** A link as drawn. `up` is the direction towards the exchange, or from the first region to the second. */
export interface Link {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly kind: "uplink" | "interface" | "region";
  readonly isUp: boolean;
  readonly isDefault: boolean;
  readonly up: Condition | null;
  readonly down: Condition | null;
  /** The names of its counters in `metrics.jsonl`; the second, where there is one, counts the way down. */
  readonly counters: readonly string[];
}

/** The links of the network at one moment. */
export function linksOf(lab: Lab, rebooting: ReadonlySet<string>): Link[] {
  return [...uplinks(lab, rebooting), ...interfaceLinks(lab, rebooting), ...regionLinks(lab)];
}

function* uplinks(lab: Lab, rebooting: ReadonlySet<string>): Generator<Link> {
  for (const name of lab.regions.keys()) {
    if (lab.ix) yield { ...PLAIN, id: `${regionId(name)}/ix`, from: IX, to: regionId(name), kind: "uplink" };
  }
  for (const [name, router] of lab.routers) {
    const parent = parentOf(lab, name);
    if (parent === null) continue;
    yield {
      ...PLAIN,
      id: `${routerId(name)}/uplink`,
      from: parent,
      to: routerId(name),
      kind: "uplink",
      isUp: !rebooting.has(name),
      up: router.uplink_condition,
      counters: [`${name}.${router.uplink?.interface ?? "wan"}`],
    };
  }
}

function* interfaceLinks(lab: Lab, rebooting: ReadonlySet<string>): Generator<Link> {
  for (const [name, device] of lab.devices) {
    for (const each of device.interfaces) {
      yield {
        id: `${deviceId(name)}/${each.name}`,
        from: routerId(each.router),
        to: deviceId(name),
        kind: "interface",
        isUp: each.up && !rebooting.has(each.router),
        isDefault: device.default_via === each.name,
        up: each.condition,
        down: each.download_condition,
        counters: [`${name}.${each.name}`],
      };
    }
  }
}

/** The counters of the n-th link are `link<n>` at both ends, each for what leaves its region. */
function* regionLinks(lab: Lab): Generator<Link> {
  for (const [index, { a, b, a_to_b, b_to_a, broken }] of lab.regionLinks.entries()) {
    const ends = [a, b].map((region) => `${lab.regions.get(region)?.router ?? `region_${region}`}.link${index + 1}`);
    yield {
      id: `link:${a}/${b}`,
      from: regionId(a),
      to: regionId(b),
      kind: "region",
      isUp: !broken,
      isDefault: true,
      up: a_to_b,
      down: b_to_a,
      counters: ends,
    };
  }
}

const PLAIN = { isUp: true, isDefault: true, up: null, down: null, counters: [] } as const;

/** What a link has dropped until now, of all causes and both ways. */
export function dropped(link: Link, activity: ReadonlyMap<string, LinkActivity>): number {
  return link.counters.reduce((sum, name) => {
    const total = activity.get(name)?.total;
    return sum + (total?.up.dropped ?? 0) + (total?.down.dropped ?? 0);
  }, 0);
}

export interface Curve {
  readonly path: string;
  readonly label: { readonly x: number; readonly y: number };
}

/** The way that a link takes through the picture; null for one between things that have no place. */
export function curveOf(link: Link, layout: Layout, index: number, siblings: number): Curve | null {
  const from = layout.boxes.get(link.from);
  const to = layout.boxes.get(link.to);
  if (!from || !to) return null;
  if (link.kind === "region") return regionCurve(from, to, layout);
  const spread = (index - (siblings - 1) / 2) * 14;
  const end = { x: to.x + to.width / 2 + spread, y: to.y };
  if (link.from === IX) return drop(end.x, from.y + from.height, end.y);
  return bend({ x: from.x + from.width / 2, y: from.y + from.height }, end);
}

/** From a router to the frame of its LAN. */
export function frameCurve(router: Box, frame: Box): Curve {
  return bend(
    { x: router.x + router.width / 2, y: router.y + router.height },
    { x: frame.x + frame.width / 2, y: frame.y },
  );
}

interface Point {
  readonly x: number;
  readonly y: number;
}

function drop(x: number, from: number, to: number): Curve {
  return { path: `M${x},${from} L${x},${to}`, label: { x, y: Math.max(from + 18, to - 26) } };
}

function bend(from: Point, to: Point): Curve {
  const middle = (from.y + to.y) / 2;
  // Nearer to the lower end, where the links of one router have parted.
  const t = 0.62;
  const point = {
    x: cubic(t, from.x, from.x, to.x, to.x),
    y: cubic(t, from.y, middle, middle, to.y),
  };
  return { path: `M${from.x},${from.y} C${from.x},${middle} ${to.x},${middle} ${to.x},${to.y}`, label: point };
}

/** Side to side where regions stand beside each other, over the others where some stand between. */
function regionCurve(from: Box, to: Box, layout: Layout): Curve {
  const [left, right] = from.x <= to.x ? [from, to] : [to, from];
  const start = { x: left.x + left.width, y: left.y + left.height / 2 };
  const end = { x: right.x, y: right.y + right.height / 2 };
  const between = [...layout.boxes].filter(
    ([id, box]) => id.startsWith("region:") && box.y === left.y && box.x > left.x && box.x < right.x,
  );
  const middle = { x: (start.x + end.x) / 2, y: (start.y + end.y) / 2 };
  if (between.length === 0) return { path: `M${start.x},${start.y} L${end.x},${end.y}`, label: middle };
  const above = left.y - 14 - 12 * between.length;
  const [x1, x2] = [left.x + left.width * 0.8, right.x + right.width * 0.2];
  const path = `M${x1},${left.y} C${x1 + 20},${above} ${x1 + 20},${above} ${x1 + 60},${above} L${x2 - 60},${above} C${x2 - 20},${above} ${x2 - 20},${above} ${x2},${right.y}`;
  return { path, label: { x: (x1 + x2) / 2, y: above } };
}

function cubic(t: number, a: number, b: number, c: number, d: number): number {
  const s = 1 - t;
  return s * s * s * a + 3 * s * s * t * b + 3 * s * t * t * c + t * t * t * d;
}
