/** Events as text: whom they are about, and what they say. Pure. */
import type { LabEvent } from "../api/types";

export const EVENT_GROUPS = ["steps", "processes", "captures", "network", "links", "names", "sim", "other"] as const;
export type EventGroup = (typeof EVENT_GROUPS)[number];

const GROUPS: readonly [RegExp, EventGroup][] = [
  [/^(sim_|lab_|events_dropped|ipv6_incomplete|nat64_statistics)/, "sim"],
  [/^(step_|assertion_|file_generated|certificate_generated)/, "steps"],
  [/^(process_|lines_cut)/, "processes"],
  [/^capture_/, "captures"],
  [/(^link_|condition_changed|region_link_)/, "links"],
  [/^(names_|name_server_|dns_)/, "names"],
  [/^(ix_|router_|device_|region_|nat_|firewall_|interface_|default_route_)/, "network"],
];

export function groupOf(kind: string): EventGroup {
  return GROUPS.find(([pattern]) => pattern.test(kind))?.[1] ?? "other";
}

const SUBJECTS = ["device", "router", "name", "key", "client", "sim"] as const;

/** The node, link, step or capture that it is about. */
export function subjectOf(event: LabEvent): string {
  const named = SUBJECTS.map((key) => event[key]).find((value) => typeof value === "string" && value !== "");
  const of = [event.id, named].filter((part): part is string => typeof part === "string" && part !== "");
  const iface = event.iface ?? event.iface_name;
  if (typeof iface === "string") of.push(iface);
  if (of.length === 0 && typeof event.a === "string" && typeof event.b === "string") return `${event.a} – ${event.b}`;
  return [...new Set(of)].join(" ");
}

const LEFT_OUT = new Set<string>(["opid", "timestamp", "kind", "id", "iface", "iface_name", ...SUBJECTS]);
const details = new WeakMap<LabEvent, string>();

/** All other fields, in one line. */
export function detailsOf(event: LabEvent): string {
  let text = details.get(event);
  if (text === undefined) {
    text = Object.entries(event)
      .filter(([key, value]) => !LEFT_OUT.has(key) && value !== "")
      .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`)
      .join(" ");
    details.set(event, text);
  }
  return text;
}

/** Whether every word of the text is somewhere in the event. */
export function matches(event: LabEvent, text: string | undefined): boolean {
  if (!text) return true;
  const searched = `${event.kind} ${subjectOf(event)} ${detailsOf(event)}`.toLowerCase();
  return text
    .toLowerCase()
    .split(/\s+/)
    .every((word) => searched.includes(word));
}
