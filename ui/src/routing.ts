/** Addresses within the page: everything that is shown stands in the hash, so that it can be sent to somebody. */
import { useSyncExternalStore } from "react";

export const SIM_TABS = ["sim", "topology", "events", "logs", "timeline", "perf", "files"] as const;
export type SimTab = (typeof SIM_TABS)[number];
export const RUN_TABS = ["sims", "perf"] as const;
export type RunTab = (typeof RUN_TABS)[number];
export type Params = Readonly<Record<string, string>>;

export type Route =
  | { page: "runs"; params: Params }
  | { page: "invocation"; invocation: string; params: Params }
  | { page: "run"; run: string; tab: RunTab; params: Params }
  | { page: "sim"; run: string; sim: string; tab: SimTab; params: Params };

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // a stray % that somebody typed
  }
}

/** The route that a hash stands for; an unknown one is the index of runs. */
export function parseHash(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#?\/?/, "").split(/\?(.*)/s);
  const params = Object.fromEntries(new URLSearchParams(query));
  const [head, run, second, sim, tab] = path.split("/").map(decoded);
  if (head === "inv" && run) return { page: "invocation", invocation: run, params };
  if (head !== "run" || !run) return { page: "runs", params };
  if (second === "sim" && sim) {
    return { page: "sim", run, sim, tab: SIM_TABS.find((known) => known === tab) ?? "sim", params };
  }
  return { page: "run", run, tab: RUN_TABS.find((known) => known === second) ?? "sims", params };
}

export function toHash(route: Route): string {
  const query = new URLSearchParams(route.params).toString();
  return `#/${path(route)}${query && `?${query}`}`;
}

function path(route: Route): string {
  if (route.page === "runs") return "runs";
  if (route.page === "invocation") return `inv/${encodeURIComponent(route.invocation)}`;
  const run = `run/${encodeURIComponent(route.run)}`;
  if (route.page === "run") return route.tab === "sims" ? run : `${run}/${route.tab}`;
  return `${run}/sim/${encodeURIComponent(route.sim)}/${route.tab}`;
}

/** The run that is shown, or that what is shown belongs to. */
export function runOf(route: Route): string | null {
  return route.page === "run" || route.page === "sim" ? route.run : null;
}

export function runHash(run: string, tab: RunTab = "sims", params: Params = {}): string {
  return toHash({ page: "run", run, tab, params });
}

export function simHash(run: string, sim: string, tab: SimTab = "sim", params: Params = {}): string {
  return toHash({ page: "sim", run, sim, tab, params });
}

/** What follows when some parameters change: null takes one away. */
export function changedParams(params: Params, changes: Readonly<Record<string, string | null>>): Params {
  const all = { ...params, ...changes };
  return Object.fromEntries(Object.entries(all).filter((entry): entry is [string, string] => !!entry[1]));
}

/** "push" makes an entry of the history to go back to; "replace" is for what changes all the time, as text typed. */
export function go(hash: string, how: "push" | "replace" = "push"): void {
  if (hash === window.location.hash) return;
  if (how === "push") {
    window.location.hash = hash;
  } else {
    window.history.replaceState(null, "", hash);
    window.dispatchEvent(new HashChangeEvent("hashchange"));
  }
}

function subscribe(changed: () => void): () => void {
  window.addEventListener("hashchange", changed);
  return () => window.removeEventListener("hashchange", changed);
}

let known: { hash: string; route: Route } | null = null;

function snapshot(): Route {
  const hash = window.location.hash;
  if (known?.hash !== hash) known = { hash, route: parseHash(hash) };
  return known.route;
}

export function useRoute(): Route {
  return useSyncExternalStore(subscribe, snapshot);
}
