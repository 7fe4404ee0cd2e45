import { conditionLabel } from "../lab/conditions";
import { number, type RunEvent, text, textOrNull } from "../lab/events";
import type { Condition } from "../lab/model";

/** What is drawn how, and what the page offers to hide. */
export const CATEGORIES = ["steps", "changes", "captures", "assertions", "custom", "other"] as const;
export type Category = (typeof CATEGORIES)[number];
export type Tone = "neutral" | "good" | "bad" | "change" | "custom" | "muted";

/** A bar (with `until`, null while it goes on) or a mark (`until` equals `from`) in a lane. */
export interface Item {
  readonly id: string;
  readonly lane: string;
  readonly category: Category;
  readonly tone: Tone;
  readonly from: number;
  readonly until: number | null;
  /** `state`: something that holds for a while, as a link that is down; drawn behind the others. */
  readonly shape: "bar" | "mark" | "state";
  readonly label: string;
  readonly detail: readonly (readonly [name: string, value: string])[];
  /** The step or process whose output belongs to it. */
  readonly step: string | null;
  readonly node: string | null;
  readonly log: { readonly path: string; readonly offset: number } | null;
}

/** The lane of what belongs to no node. */
export const SIM_LANE = "sim";
export const regionLane = (name: string) => `region ${name}`;

/** Items from events as they come. Bars that are open end when their end comes. */
export class TimelineItems {
  hasSteps = false;
  private readonly byId = new Map<string, Item>();
  private readonly open = new Map<string, string>();
  private readonly aliases = new Map<string, string>();
  private readonly devices = new Map<string, string>();

  /** In the order of their events. */
  items(): Item[] {
    return [...this.byId.values()];
  }

  add(events: Iterable<RunEvent>): void {
    for (const event of events) (HANDLERS[event.kind] ?? plainMark)(event, this);
  }

  /** Begins a bar that `close` ends by the same key. */
  begin(key: string, event: RunEvent, item: Partial<Item> & Pick<Item, "label" | "lane" | "category">): void {
    const made = mark(event, { shape: "bar", tone: "neutral", ...item, until: null });
    this.open.set(key, made.id);
    this.byId.set(made.id, made);
  }

  /** A further key that must be closed before the bar of another ends; false when that is not open. */
  join(key: string, other: string, detail: Item["detail"]): boolean {
    const item = this.openItem(this.aliases.get(other) ?? other);
    if (!item) return false;
    this.open.set(key, item.id);
    const known = new Set(item.detail.map((fact) => fact.join(" ")));
    const fresh = detail.filter((fact) => !known.has(fact.join(" ")));
    this.byId.set(item.id, { ...item, detail: [...item.detail, ...fresh] });
    return true;
  }

  close(key: string, event: RunEvent, tone: Tone | null, detail: Item["detail"] = []): boolean {
    const item = this.openItem(key);
    if (!item) return false;
    this.open.delete(key);
    const isLast = ![...this.open.values()].includes(item.id);
    this.byId.set(item.id, {
      ...item,
      until: isLast ? event.at : null,
      tone: tone === null || item.tone === "bad" ? item.tone : tone,
      detail: [...item.detail, ...detail],
    });
    return true;
  }

  put(item: Item): void {
    this.byId.set(item.id, item);
  }

  /** Everything still open ends with the sim. */
  closeAll(event: RunEvent): void {
    for (const key of [...this.open.keys()]) this.close(key, event, null);
  }

  alias(alias: string, key: string): void {
    this.aliases.set(alias, key);
  }

  private openItem(key: string): Item | undefined {
    const id = this.open.get(key);
    return id === undefined ? undefined : this.byId.get(id);
  }

  /** The node that a step's captures belong to. */
  remember(step: string, device: string): void {
    if (step && device) this.devices.set(step, device);
  }

  deviceOf(step: string): string | null {
    return this.devices.get(step) ?? null;
  }
}

type Handler = (event: RunEvent, items: TimelineItems) => void;

/** Told elsewhere; of the network only what comes after it was built is news. */
const BUILDING = new Set(["router_added", "device_added", "region_added", "region_link_added"]);
const ELSEWHERE = new Set([
  "lab_created",
  "ix_created",
  "link_statistics",
  "nat64_statistics",
  "file_generated",
  "certificate_generated",
]);

const HANDLERS: Readonly<Record<string, Handler>> = {
  step_started: startStep,
  step_finished: endStep,
  step_failed: failStep,
  process_started: startProcess,
  process_exited: endProcess,
  process_ready: (event, items) => put(items, event, "steps", "good", `${text(event, "id")} ready`),
  process_signalled: (event, items) =>
    put(items, event, "steps", "neutral", `${text(event, "signal")} to ${text(event, "id")}`),
  lines_cut: (event, items) => put(items, event, "other", "bad", "lines cut"),
  capture_recorded: recordCapture,
  assertion_passed: (event, items) => put(items, event, "assertions", "good", text(event, "check")),
  assertion_failed: (event, items) => put(items, event, "assertions", "bad", text(event, "check")),
  link_down: (event, items) =>
    items.begin(`down ${text(event, "device")}.${text(event, "iface")}`, event, {
      lane: text(event, "device"),
      category: "changes",
      tone: "bad",
      shape: "state",
      label: `${text(event, "iface")} down`,
    }),
  link_up: (event, items) => {
    items.close(`down ${text(event, "device")}.${text(event, "iface")}`, event, null);
    put(items, event, "changes", "change", `${text(event, "iface")} up`);
  },
  default_route_changed: (event, items) =>
    put(items, event, "changes", "change", `default via ${text(event, "iface")}`),
  interface_replugged: (event, items) =>
    put(items, event, "changes", "change", `${text(event, "iface")} → ${text(event, "to_router")}`),
  interface_added: (event, items) =>
    put(items, event, "changes", "change", `${text(event, "iface")} plugged into ${text(event, "router")}`),
  interface_removed: (event, items) => put(items, event, "changes", "change", `${text(event, "iface_name")} removed`),
  device_ip_changed: (event, items) =>
    put(items, event, "changes", "change", `new address ${text(event, "new_ip") || text(event, "new_ip_v6")}`),
  link_condition_changed: (event, items) =>
    put(items, event, "changes", "change", `${text(event, "iface")}: ${conditionOf(event)}`),
  uplink_condition_changed: (event, items) => put(items, event, "changes", "change", `uplink: ${conditionOf(event)}`),
  downlink_condition_changed: (event, items) => put(items, event, "changes", "change", `LAN: ${conditionOf(event)}`),
  nat_changed: (event, items) => put(items, event, "changes", "change", `NAT ${text(event, "nat")}`),
  nat_v6_changed: (event, items) => put(items, event, "changes", "change", `IPv6 NAT ${text(event, "nat_v6")}`),
  firewall_changed: (event, items) => put(items, event, "changes", "change", `firewall ${text(event, "firewall")}`),
  nat_state_flushed: (event, items) => put(items, event, "changes", "change", "NAT state flushed"),
  router_rebooted: (event, items) => {
    const downFor = (number(event, "down_for_s") ?? 0) * 1000;
    const made = mark(event, { lane: text(event, "router"), category: "changes", tone: "bad", label: "rebooting" });
    items.put({ ...made, shape: "state", from: event.at - downFor });
  },
  router_removed: removeNode,
  device_removed: removeNode,
  region_link_broken: (event, items) => {
    for (const [here, there] of endsOf(event))
      items.begin(`broken ${here} ${there}`, event, {
        id: `${event.opid} ${here}`,
        lane: regionLane(here),
        category: "changes",
        tone: "bad",
        shape: "state",
        label: `link to ${there} broken`,
      });
  },
  region_link_restored: (event, items) => {
    for (const [here, there] of endsOf(event)) {
      items.close(`broken ${here} ${there}`, event, null);
      items.put(
        mark(event, {
          id: `${event.opid} ${here}`,
          lane: regionLane(here),
          category: "changes",
          tone: "change",
          label: `link to ${there} restored`,
        }),
      );
    }
  },
  sim_finished: (event, items) => {
    items.closeAll(event);
    const status = text(event, "status");
    put(items, event, "other", status === "ok" ? "good" : "bad", `sim ${status}`);
  },
};

function plainMark(event: RunEvent, items: TimelineItems): void {
  if (BUILDING.has(event.kind)) {
    const lane = text(event, "name") || SIM_LANE;
    if (items.hasSteps) items.put(mark(event, { lane, category: "changes", tone: "change", label: "added" }));
  } else if (!ELSEWHERE.has(event.kind)) put(items, event, "other", "muted", event.kind.replaceAll("_", " "));
}

function put(items: TimelineItems, event: RunEvent, category: Category, tone: Tone, label: string): void {
  items.put(mark(event, { category, tone, label }));
}

/** A mark at the event, in the lane of the node that it names. */
export function mark(event: RunEvent, item: Partial<Item> & Pick<Item, "label" | "category">): Item {
  const node = textOrNull(event, "device") || textOrNull(event, "router") || textOrNull(event, "client");
  return {
    id: String(event.opid),
    lane: item.lane || node || SIM_LANE,
    tone: "neutral",
    from: event.at,
    until: event.at,
    shape: "mark",
    detail: detailOf(event),
    step: textOrNull(event, "id") || null,
    node: node || null,
    log: null,
    ...item,
  };
}

function detailOf(event: RunEvent): Item["detail"] {
  const named = Object.entries(event.fields).filter(([, value]) => value !== null && value !== "");
  return [["event", `${event.opid} ${event.kind}`], ...named.map(([name, value]) => [name, spelled(value)] as const)];
}

function spelled(value: unknown): string {
  if (Array.isArray(value) && value.every((each) => typeof each === "string")) return value.join(" ");
  return typeof value === "string" ? value : JSON.stringify(value);
}

function conditionOf(event: RunEvent): string {
  const condition = conditionLabel((event.fields.condition as Condition | null | undefined) ?? null) || "clear";
  const direction = text(event, "direction");
  return direction && direction !== "both" ? `${condition} (${direction})` : condition;
}

function removeNode(event: RunEvent, items: TimelineItems): void {
  items.put(mark(event, { lane: text(event, "name"), category: "changes", tone: "change", label: "removed" }));
}

function endsOf(event: RunEvent): readonly (readonly [string, string])[] {
  const [a, b] = [text(event, "a"), text(event, "b")];
  return [
    [a, b],
    [b, a],
  ];
}

const stepKey = (event: RunEvent) => `step ${event.fields.on_failure === true} ${number(event, "step")}`;
const processKey = (event: RunEvent) => `process ${text(event, "device")} ${text(event, "id")}`;
/** By the id of the step that is starting a process now: its bar is the process's as well. */
const startingKey = (event: RunEvent) => `starting ${text(event, "device")} ${text(event, "id")}`;

function startStep(event: RunEvent, items: TimelineItems): void {
  const id = text(event, "id");
  const action = text(event, "action");
  items.hasSteps = true;
  const startsProcess = action === "run" || action === "spawn";
  items.remember(id, text(event, "device"));
  const label = startsProcess ? id || action : [action, id].filter(Boolean).join(" ");
  items.begin(stepKey(event), event, { lane: text(event, "device") || SIM_LANE, category: "steps", label });
  if (startsProcess && id) items.alias(startingKey(event), stepKey(event));
}

function endStep(event: RunEvent, items: TimelineItems): void {
  const duration = number(event, "duration_s");
  const detail: Item["detail"] = [["status", text(event, "status")]];
  items.close(
    stepKey(event),
    event,
    "good",
    duration === null ? detail : [...detail, ["duration_s", String(duration)]],
  );
}

function failStep(event: RunEvent, items: TimelineItems): void {
  const isKnown = items.close(stepKey(event), event, "bad", [["message", text(event, "message")]]);
  if (!isKnown) put(items, event, "steps", "bad", `${text(event, "action")} failed`);
}

/** The bar of a step that starts a process ends with the process, which may outlive the step. */
function startProcess(event: RunEvent, items: TimelineItems): void {
  items.remember(text(event, "id"), text(event, "device"));
  if (items.join(processKey(event), startingKey(event), detailOf(event))) return;
  items.begin(processKey(event), event, { lane: text(event, "device"), category: "steps", label: text(event, "id") });
}

function endProcess(event: RunEvent, items: TimelineItems): void {
  const code = number(event, "exit_code");
  const ended = code === null ? "ended" : code < 0 ? `signal ${-code}` : `exit ${code}`;
  items.close(processKey(event), event, code === 0 ? "good" : "muted", [["ended", ended]]);
}

function recordCapture(event: RunEvent, items: TimelineItems): void {
  const key = text(event, "key");
  const step = key.slice(0, Math.max(0, key.lastIndexOf(".")));
  const node = items.deviceOf(step);
  const label = `${key} = ${text(event, "value")}`;
  items.put(mark(event, { lane: node ?? SIM_LANE, node, step, category: "captures", tone: "neutral", label }));
}
