import { describe, expect, it } from "vitest";
import { parseAnsi, withoutAnsi } from "../src/logs/ansi";
import { customEvent } from "../src/logs/custom";
import { contrast, legible, parse } from "../src/logs/legible";
import { fieldText, parseRecord } from "../src/logs/records";

const ESC = "\x1b";

describe("terminal colours", () => {
  it("become spans", () => {
    const { spans, after } = parseAnsi(`plain ${ESC}[1;31mred${ESC}[0m rest`);
    expect(spans).toEqual([
      { text: "plain ", style: {} },
      { text: "red", style: { isBold: true, foreground: "1" } },
      { text: " rest", style: {} },
    ]);
    expect(after).toEqual({});
  });

  it("go on over lines until they are reset", () => {
    const { after } = parseAnsi(`${ESC}[32;4mgreen`);
    expect(after).toEqual({ foreground: "2", isUnderlined: true });
    expect(parseAnsi(`more${ESC}[24m${ESC}[39m`, after)).toEqual({
      spans: [{ text: "more", style: after }],
      after: {},
    });
  });

  it("come from all three palettes", () => {
    const colour = (codes: string) => parseAnsi(`${ESC}[${codes}mx`).after;
    expect(colour("96")).toEqual({ foreground: "14" });
    expect(colour("38;5;9")).toEqual({ foreground: "9" });
    expect(colour("38;5;196")).toEqual({ foreground: "#ff0000" });
    expect(colour("48;5;232")).toEqual({ background: "#080808" });
    expect(colour("38;2;1;2;300;1")).toEqual({ foreground: "#0102ff", isBold: true });
    expect(colour("38:2::1:2:3")).toEqual({ foreground: "#010203" });
    expect(colour("31")).toEqual(colour("0;31"));
    expect(colour("")).toEqual({});
  });

  it("are all that is obeyed: cursors, titles and links are left out, controls are shown", () => {
    const line = `${ESC}[2K${ESC}]8;;http://x${ESC}\\link${ESC}]0;title\x07${ESC}(B!\x00\x9b`;
    expect(
      parseAnsi(line)
        .spans.map(({ text }) => text)
        .join(""),
    ).toBe("link!\u2400\u2421");
    expect(withoutAnsi(`${ESC}[31ma${ESC}[0mb`)).toBe("ab");
    expect(parseAnsi(`a${ESC}[`).spans).toEqual([{ text: "a", style: {} }]);
  });

  it("show of a progress bar what a terminal would show last", () => {
    expect(parseAnsi("10 %\r20 %\r").spans).toEqual([{ text: "20 %", style: {} }]);
  });
});

describe("colours that programs chose", () => {
  const colours = ["#ff8700", "#ffff00", "#000080", "#808080", "#ffffff", "#000000"];
  it.each(colours)("can be read in both themes: %s", (hex) => {
    const parts = [...legible(hex).matchAll(/rgb\((\d+) (\d+) (\d+)\)/g)].map(
      ([, r, g, b]) => [Number(r), Number(g), Number(b)] as const,
    );
    const [light, dark] = parts;
    if (!light || !dark) throw new Error(legible(hex));
    expect(contrast(light, parse("#dfeaff"))).toBeGreaterThanOrEqual(4.5);
    expect(contrast(dark, parse("#22364f"))).toBeGreaterThanOrEqual(4.5);
  });

  it("stay as they are where they can be read", () => {
    expect(legible("#000080")).toContain("rgb(0 0 128)");
    expect(legible("#ffff00")).toContain("rgb(255 255 0)");
  });
});

describe("JSON log lines", () => {
  it("of Rust's tracing have target, fields and spans", () => {
    const record = parseRecord(
      JSON.stringify({
        timestamp: "2026-03-13T12:00:00.250000Z",
        level: "WARN",
        fields: { message: "slow", peer: "10.0.0.1", n: 3 },
        target: "app::net",
        span: { name: "dial", id: 7 },
        spans: [{ name: "run" }, { name: "dial", id: 7 }],
      }),
    );
    expect(record).toMatchObject({ level: "warn", target: "app::net", message: "slow" });
    expect(record?.at).toBe(Date.UTC(2026, 2, 13, 12) + 250);
    expect(record?.fields).toEqual([
      ["peer", "10.0.0.1"],
      ["n", 3],
    ]);
    expect(record?.spans).toEqual([
      { name: "run", fields: [] },
      { name: "dial", fields: [["id", 7]] },
    ]);
  });

  it.each([
    ['{"event":"hi","level":"warning","logger":"a","timestamp":"2026-03-13T12:00:00Z"}', "warn", "WARN", "a", "hi"],
    ['{"level":50,"time":1773403200000,"msg":"boom","name":"pino"}', "error", "ERROR", "pino", "boom"],
    ['{"level":"35","msg":"between"}', "info", "INFO(35)", "", "between"],
    ['{"time":"2026-03-13T12:00:00Z","level":"DEBUG-4","msg":"slog"}', "debug", "DEBUG-4", "", "slog"],
    ['{"log.level":"critical","message":"ecs","log.logger":"l"}', "fatal", "FATAL", "l", "ecs"],
    ['{"severity":"weird","message":"gcp"}', null, "weird", "", "gcp"],
    ['{"level":true,"msg":"x"}', null, "", "", "x"],
  ])("of other loggers are understood: %s", (line, level, levelText, target, message) => {
    expect(parseRecord(line)).toMatchObject({ level, levelText, target, message });
  });

  it("are none without level and message, or when torn", () => {
    for (const line of ["", "text", "[1]", '{"a":1}', '{"msg":"torn', "{}"]) expect(parseRecord(line)).toBeNull();
  });

  it("keep a field that is called as one of the line's own", () => {
    const record = parseRecord('{"level":"INFO","fields":{"message":"moved","target":"b","n":1},"target":"app"}');
    expect(record).toMatchObject({ message: "moved", target: "app" });
    expect(record?.fields).toEqual([
      ["fields", { target: "b" }],
      ["n", 1],
    ]);
  });

  it("keep what was not understood as fields", () => {
    expect(parseRecord('{"msg":"m","fields":{"msg":"other"},"spans":[1]}')?.fields).toEqual([
      ["fields", { msg: "other" }],
      ["spans", [1]],
    ]);
    expect(["a", "a b", "", 3, { x: [1] }, null].map(fieldText)).toEqual([
      "a",
      '"a b"',
      '""',
      "3",
      '{"x":[1]}',
      "null",
    ]);
  });
});

describe("a program's own events", () => {
  it("are targets with _events::", () => {
    const line =
      '{"timestamp":"2026-03-13T12:00:00Z","level":"INFO","fields":{"addr":"10.0.0.1"},"target":"myapp::_events::PeerConnected"}';
    expect(customEvent(line)).toEqual({
      at: Date.UTC(2026, 2, 13, 12),
      name: "PeerConnected",
      fields: [["addr", "10.0.0.1"]],
    });
  });

  it("are JSON lines with a kind", () => {
    expect(customEvent('{"kind":"joined","ts":1773403200.5,"peer":2}')).toEqual({
      at: 1773403200500,
      name: "joined",
      fields: [["peer", 2]],
    });
    expect(customEvent('{"kind":"Up","timestamp":"2026-03-13T12:00:00Z","fields":{"x":1}}')).toMatchObject({
      name: "Up",
      fields: [["x", 1]],
    });
  });

  it("are told when they have no time, and nothing else is one", () => {
    expect(customEvent('{"kind":"joined"}')).toBe("untimed");
    for (const line of ["", '{"kind":3}', '{"target":"my_events::X"}', '{"a":"\\"kind\\""}', "kind _events::"])
      expect(customEvent(line)).toBeNull();
  });
});
