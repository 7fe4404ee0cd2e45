import { describe, expect, it } from "vitest";
import { bitRate, bytes, duration, microseconds, plural, relative } from "../src/format";

const plain = (text: string) => text.replaceAll("\u202f", " ");

describe("quantities", () => {
  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1000, "1 kB"],
    [104857600, "105 MB"],
    [2.5e9, "2.50 GB"],
    [null, ""],
  ])("%j bytes", (value, text) => expect(plain(bytes(value))).toBe(text));

  it.each([
    [12.5, "12.5 ms"],
    [0.5, "0.500 ms"],
    [1500, "1.50 s"],
    [59_949, "59.9 s"],
    [61_000, "1 min 01 s"],
    [3_660_000, "1 h 01 min"],
    [undefined, ""],
  ])("%j ms", (value, text) => expect(plain(duration(value))).toBe(text));

  it("rates", () => expect(plain(bitRate(2_000_000))).toBe("2 Mbit/s"));
  it("plurals", () => expect([plural(1, "sim"), plural(0, "sim")]).toEqual(["1 sim", "0 sims"]));
});

describe("times", () => {
  it("keep microseconds", () => {
    expect(microseconds("1970-01-01T00:00:01.000042Z")).toBe(1_000_042);
    expect(microseconds("1970-01-01T00:00:01Z")).toBe(1_000_000);
    expect(microseconds("1970-01-01T00:00:01.5Z")).toBe(1_500_000);
    expect(microseconds("nonsense")).toBeNull();
  });

  it("are told from a start", () => {
    expect(plain(relative(1_500_000, 1_000_000))).toBe("+0.500 s");
    expect(plain(relative(500_000, 1_000_000))).toBe("−0.500 s");
  });
});
