/** What is written on nodes and wires. */
import { count } from "../format";
import { bothWays, conditionLabel } from "../lab/conditions";
import type { Device, Router } from "../lab/model";
import { type Curve, curveOf, dropped, frameCurve, type Link } from "./edges";
import type { Layout } from "./layout";
import type { Scene } from "./scene";
import { deviceId, IX, regionId, routerId } from "./structure";

export interface Badge {
  readonly kind: "nat" | "firewall" | "condition" | "down" | "plain";
  readonly text: string;
}

export interface NodeFace {
  readonly id: string;
  readonly kind: "ix" | "region" | "router" | "device";
  readonly name: string;
  readonly note: string;
  readonly text: string;
  readonly badges: readonly Badge[];
  readonly isDown: boolean;
  /** All of it in words. */
  readonly spoken: string;
}

export interface WireFace {
  readonly id: string;
  readonly from: string;
  readonly to: string;
  readonly state: "up" | "standby" | "down";
  readonly downWord: string;
  /** The interface, where a device has several. */
  readonly name: string;
  readonly label: string;
  readonly dropped: number;
  /** Whether it ends at what is selected. */
  readonly isNear: boolean;
}

const UP_DOWN = ["↑", "↓"] as const;
const THERE_BACK = ["→", "←"] as const;

export function nodeFaces(scene: Scene, layout: Layout): NodeFace[] {
  const { lab } = scene;
  const faces: NodeFace[] = [];
  const add = (face: Omit<NodeFace, "spoken">) => faces.push({ ...face, spoken: spoken(face) });
  const plain = { note: "", text: "", badges: [], isDown: false };
  if (lab.ix) add({ ...plain, id: IX, kind: "ix", name: "Internet exchange", note: lab.ix.ip ?? lab.ix.ip_v6 ?? "" });
  for (const [name, region] of lab.regions)
    add({
      ...plain,
      id: regionId(name),
      kind: "region",
      name,
      note: "region",
      text: region.cidr ?? region.cidr_v6 ?? "",
    });
  for (const [name, router] of lab.routers) add(routerFace(name, router, scene));
  for (const [name, device] of lab.devices) add(deviceFace(name, device, scene, layout));
  return faces;
}

function routerFace(name: string, router: Router, { rebooting }: Scene): Omit<NodeFace, "spoken"> {
  const lan = conditionLabel(router.downlink_condition);
  const isDown = rebooting.has(name);
  const badges: (Badge | false)[] = [
    isDown && { kind: "down", text: "rebooting" },
    router.nat !== "none" && { kind: "nat", text: `NAT ${router.nat}` },
    router.nat_v6 !== "none" && { kind: "nat", text: router.nat_v6 },
    router.firewall !== "none" && { kind: "firewall", text: router.firewall },
    lan !== "" && { kind: "condition", text: `LAN ${lan}` },
    router.ip_support !== "dual-stack" && { kind: "plain", text: router.ip_support },
  ];
  const shown = badges.filter((badge) => badge !== false);
  const note = router.uplink?.ip ?? router.uplink?.ip_v6 ?? "no upstream";
  // There are three lines, and about 24 letters fit into one.
  const isCrowded = shown.reduce((sum, badge) => sum + badge.text.length, 0) > 24;
  const text = !isCrowded ? (router.downstream?.cidr ?? router.downstream?.cidr_v6 ?? "") : "";
  return { id: routerId(name), kind: "router", name, note, text, badges: shown, isDown };
}

/** A device's default interface speaks for it; its links are told by their wires, or here where it has none. */
function deviceFace(name: string, device: Device, scene: Scene, layout: Layout): Omit<NodeFace, "spoken"> {
  const own = scene.links.filter((link) => link.kind === "interface" && link.to === deviceId(name));
  const main = device.interfaces.find((each) => each.name === device.default_via) ?? device.interfaces[0];
  const isDown = own.length > 0 && own.every((link) => !link.isUp);
  const badges: Badge[] = isDown ? [{ kind: "down", text: "down" }] : [];
  for (const link of own.filter((each) => isFramed(each, layout))) {
    const condition = bothWays(link.up, link.down, UP_DOWN);
    const lost = dropped(link, scene.activity);
    if (condition) badges.push({ kind: "condition", text: condition });
    if (lost) badges.push({ kind: "down", text: `${count(lost)} dropped` });
  }
  const note = device.interfaces.length > 1 ? (main?.name ?? "") : "";
  return {
    id: deviceId(name),
    kind: "device",
    name,
    note,
    text: main?.ip ?? main?.ip_v6 ?? "no address",
    badges,
    isDown,
  };
}

function spoken(face: Omit<NodeFace, "spoken">): string {
  const kind = face.kind === "ix" ? "" : face.kind;
  return [kind, face.name, face.note, face.text, ...face.badges.map(({ text }) => text)].filter(Boolean).join(", ");
}

/** Wires with their ways: those into a frame are one, with what its devices' links have in common told by the devices. */
export function wireFaces(scene: Scene, layout: Layout, selected: string | null): (WireFace & { curve: Curve })[] {
  const byTarget = new Map<string, Link[]>();
  const place = (link: Link) => layout.boxes.get(link.from)?.x ?? 0;
  for (const link of [...scene.links].sort((one, other) => place(one) - place(other)))
    byTarget.set(link.to, [...(byTarget.get(link.to) ?? []), link]);
  const wires = scene.links.flatMap((link) => {
    const siblings = byTarget.get(link.to) ?? [];
    if (isFramed(link, layout)) return [];
    const curve = curveOf(link, layout, siblings.indexOf(link), siblings.length);
    return curve ? { ...wireFace(link, scene, siblings, selected), curve } : [];
  });
  return [...wires, ...frameWires(layout, selected)];
}

function wireFace(link: Link, scene: Scene, siblings: readonly Link[], selected: string | null): WireFace {
  const isAlone = siblings.filter(({ kind }) => kind === "interface").length < 2;
  const name = link.kind === "interface" && !isAlone ? link.id.slice(link.id.lastIndexOf("/") + 1) : "";
  const arrows = link.kind === "region" ? THERE_BACK : UP_DOWN;
  return {
    id: link.id,
    from: link.from,
    to: link.to,
    state: !link.isUp ? "down" : link.isDefault || isAlone ? "up" : "standby",
    downWord: link.kind === "region" ? "broken" : "down",
    name,
    label: bothWays(link.up, link.down, arrows),
    dropped: dropped(link, scene.activity),
    isNear: selected !== null && (link.from === selected || link.to === selected),
  };
}

function isFramed(link: Link, layout: Layout): boolean {
  const frame = layout.frames.get(link.from);
  const box = layout.boxes.get(link.to);
  if (!frame || !box || link.kind !== "interface") return false;
  return box.x >= frame.x && box.y >= frame.y && box.x < frame.x + frame.width && box.y < frame.y + frame.height;
}

function frameWires(layout: Layout, selected: string | null): (WireFace & { curve: Curve })[] {
  return [...layout.frames].flatMap(([id, frame]) => {
    const box = layout.boxes.get(id);
    if (!box) return [];
    const wire = { state: "up" as const, downWord: "", name: "", label: "", dropped: 0, isNear: id === selected };
    return { ...wire, id: `frame ${id}/wire`, from: id, to: `frame ${id}`, curve: frameCurve(box, frame) };
  });
}
