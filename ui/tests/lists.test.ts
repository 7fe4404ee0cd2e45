import { describe, expect, it } from "vitest";
import type { LabEvent, RunEntry } from "../src/api/types";
import { detailsOf, groupOf, matches, subjectOf } from "../src/state/events";
import { kindOf } from "../src/state/files";
import { upToDate } from "../src/state/runs";

function run(name: string, started_at: string, fields: Partial<RunEntry> = {}): RunEntry {
  const nothing = { label: null, problem: null, ended_at: null, runtime_ms: null, project: null, branch: null };
  const sims = { total: 1, ok: 1, error: 0, overloaded: 0, interrupted: 0, running: 0, pending: 0 };
  const origin = { commit: null, pr: null, pr_url: null, title: null, created_at: null };
  return { name, invocation: name, status: "ok", started_at, sims, ...nothing, ...origin, ...fields };
}

describe("the index of runs", () => {
  const fetched = [run("b", "2026-03-13T12:00:02Z"), run("a", "2026-03-13T12:00:01Z")];

  it("shows changed, new and removed runs", () => {
    const changes = {
      b: null,
      a: run("a", "2026-03-13T12:00:01Z", { status: "error" }),
      c: run("c", "2026-03-13T12:00:03Z"),
    };
    expect(upToDate(fetched, changes, {}).map((one) => `${one.name} ${one.status}`)).toEqual(["c ok", "a error"]);
  });

  it("leaves out older runs that are on a page not fetched yet", () => {
    const changes = { old: run("old", "2025-01-01T00:00:00Z") };
    expect(upToDate(fetched, changes, {})).toHaveLength(2);
  });

  it.each([
    [{ status: "error" }, []],
    [{ project: "web" }, ["c"]],
    [{ commit: "abcd" }, ["c"]],
    [{ commit: "bcde" }, []],
    [{ text: "FIX" }, ["c"]],
  ])("shows only what fits %j", (filter, names) => {
    const origin = { project: "web", commit: "abcdef", title: "Fix the web" };
    const changes = { c: run("c", "2026-03-13T12:00:03Z", origin) };
    expect(upToDate([], changes, filter).map((one) => one.name)).toEqual(names);
  });
});

describe("events", () => {
  const event = (fields: Record<string, unknown>) =>
    ({ opid: 1, timestamp: "2026-03-13T12:00:59Z", ...fields }) as LabEvent;

  it.each([
    [{ kind: "link_down", device: "laptop", iface: "eth0" }, "links", "laptop eth0"],
    [{ kind: "router_rebooted", router: "home", down_for_s: 1 }, "network", "home"],
    [{ kind: "process_started", id: "web", device: "server" }, "processes", "web server"],
    [{ kind: "capture_recorded", key: "web.ready" }, "captures", "web.ready"],
    [{ kind: "region_link_broken", a: "eu", b: "us" }, "links", "eu – us"],
    [{ kind: "step_started", id: "", device: "" }, "steps", ""],
    [{ kind: "invented_tomorrow" }, "other", ""],
  ])("%j", (fields, group, subject) => {
    expect(groupOf(fields.kind)).toBe(group);
    expect(subjectOf(event(fields))).toBe(subject);
  });

  it("are found by all words of a search", () => {
    const one = event({ kind: "nat_changed", router: "home", nat: "cgnat" });
    expect(detailsOf(one)).toBe("nat=cgnat");
    expect([matches(one, "HOME cgn"), matches(one, "home full"), matches(one, "")]).toEqual([true, false, true]);
  });
});

describe("files", () => {
  it.each([
    ["events.jsonl", "record"],
    ["nodes/a/stdout.log", "log"],
    ["nodes/a/x.pcapng", "packets"],
    ["failure-state/home/nft.txt", "failure-state"],
    ["certs/tls/key.pem", "certificate"],
    ["files/page/content", "generated"],
    ["nodes/a/core", "other"],
  ])("%s is %s", (path, kind) => expect(kindOf(path)).toBe(kind));
});
