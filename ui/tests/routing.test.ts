import { describe, expect, it } from "vitest";
import { changedParams, parseHash, runHash, simHash, toHash } from "../src/routing";

describe("routes", () => {
  it("reads what it wrote, whatever the names hold", () => {
    for (const name of ["web-260313", "a/b c", "50%", "ä?#&=", "..", "run"]) {
      const route = parseHash(simHash(name, name, "logs", { q: "a=b&c/ü", at: "12" }));
      expect(route).toEqual({ page: "sim", run: name, sim: name, tab: "logs", params: { q: "a=b&c/ü", at: "12" } });
      expect(parseHash(runHash(name, "perf"))).toMatchObject({ page: "run", run: name, tab: "perf" });
    }
  });

  it("takes the book's links", () => {
    expect(parseHash("#/run/sim-260313-120059")).toMatchObject({ page: "run", run: "sim-260313-120059" });
    expect(parseHash("#/inv/web-260313")).toMatchObject({ page: "invocation", invocation: "web-260313" });
    expect(parseHash("#/runs")).toEqual({ page: "runs", params: {} });
  });

  it.each(["", "#", "#/", "#/nonsense/x", "#/run", "#/run/", "#//", "#/%E0%A4%A"])("shows all runs for %j", (hash) => {
    expect(parseHash(hash).page).toBe("runs");
  });

  it("falls back to the first tab", () => {
    expect(parseHash("#/run/r/sim/s/nonsense")).toMatchObject({ page: "sim", tab: "sim" });
    expect(parseHash("#/run/r/sim/s")).toMatchObject({ page: "sim", tab: "sim" });
    expect(parseHash("#/run/r/nonsense")).toMatchObject({ page: "run", tab: "sims" });
    expect(parseHash("#/run/r/sim/")).toMatchObject({ page: "run", tab: "sims" });
  });

  it("keeps a bare percent sign", () => {
    expect(parseHash("#/run/50%")).toMatchObject({ run: "50%" });
  });

  it("adds, changes and takes away parameters", () => {
    expect(changedParams({ a: "1", b: "2" }, { b: null, c: "3" })).toEqual({ a: "1", c: "3" });
    expect(changedParams({ a: "1" }, { a: "" })).toEqual({});
    expect(toHash({ page: "runs", params: { status: "error" } })).toBe("#/runs?status=error");
  });
});
