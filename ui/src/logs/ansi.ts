/** Text with the colours that terminals understand (ECMA-48, SGR) as spans; every other control sequence is left out. */

export interface Style {
  /** `0` to `15`: the theme's colours; `#rrggbb`: one of the others. */
  readonly foreground?: string;
  readonly background?: string;
  readonly isBold?: true;
  readonly isDim?: true;
  readonly isItalic?: true;
  readonly isUnderlined?: true;
  readonly isStruck?: true;
  readonly isInverse?: true;
}

export interface StyledText {
  readonly text: string;
  readonly style: Style;
}

export const PLAIN: Style = {};

// CSI sequences, OSC strings (as links and titles are), and the short escapes.
const SEQUENCES =
  /\x1b(?:\[([0-9;:]*)([\x20-\x2f]*[\x40-\x7e])|\[[\x30-\x3f]*[\x20-\x2f]*[\x40-\x7e]?|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x20-\x2f]*[\x30-\x7e]?)/g;
const CONTROLS = /[\x00-\x08\x0b-\x1f\x7f-\x9f]/g;

/** The spans of one line, and the style that the next one begins with. */
export function parseAnsi(line: string, before: Style = PLAIN): { spans: StyledText[]; after: Style } {
  if (!line.includes("\x1b")) return { spans: line ? [{ text: shown(line), style: before }] : [], after: before };
  const spans: StyledText[] = [];
  let style = before;
  let end = 0;
  const take = (until: number) => {
    if (until > end) spans.push({ text: shown(line.slice(end, until)), style });
  };
  for (const match of line.matchAll(SEQUENCES)) {
    take(match.index);
    end = match.index + match[0].length;
    if (match[2] === "m") style = styled(style, match[1] ?? "");
  }
  take(line.length);
  return { spans, after: style };
}

/** The line's text alone, as search and filters see it. */
export function withoutAnsi(line: string): string {
  return line.includes("\x1b") ? line.replace(SEQUENCES, "") : line;
}

/** A carriage return takes a terminal back to the line's beginning: of a progress bar its last state is shown. */
function shown(text: string): string {
  const returned = text.replace(/\r+$/, "");
  return returned.slice(returned.lastIndexOf("\r") + 1).replace(CONTROLS, (found) => controlPicture(found));
}

function controlPicture(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x20 ? String.fromCharCode(0x2400 + code) : "\u2421";
}

/** What a code sets; undefined takes it away. */
const SWITCHES: Readonly<Record<number, { readonly [Key in keyof Style]: Style[Key] | undefined }>> = {
  1: { isBold: true },
  2: { isDim: true },
  3: { isItalic: true },
  4: { isUnderlined: true },
  7: { isInverse: true },
  9: { isStruck: true },
  22: { isBold: undefined, isDim: undefined },
  23: { isItalic: undefined },
  24: { isUnderlined: undefined },
  27: { isInverse: undefined },
  29: { isStruck: undefined },
  39: { foreground: undefined },
  49: { background: undefined },
};

function styled(before: Style, parameters: string): Style {
  let style = before;
  // 38:2::r:g:b has the colour in one parameter, 38;2;r;g;b over several.
  const codes = parameters
    .replace(/:(?=:)/g, "")
    .split(/[;:]/)
    .map(Number);
  for (let index = 0; index < codes.length; index++) {
    const code = codes[index] as number;
    if (code === 0) style = PLAIN;
    else if (code === 38 || code === 48) {
      const [colour, used] = extendedColour(codes.slice(index + 1));
      if (colour !== null) style = { ...style, [code === 38 ? "foreground" : "background"]: colour };
      index += used;
    } else if (code >= 30 && code <= 37) style = { ...style, foreground: String(code - 30) };
    else if (code >= 90 && code <= 97) style = { ...style, foreground: String(code - 90 + 8) };
    else if (code >= 40 && code <= 47) style = { ...style, background: String(code - 40) };
    else if (code >= 100 && code <= 107) style = { ...style, background: String(code - 100 + 8) };
    else if (SWITCHES[code]) style = without({ ...style, ...SWITCHES[code] });
  }
  return style;
}

function without(style: { readonly [Key in keyof Style]: Style[Key] | undefined }): Style {
  return Object.fromEntries(Object.entries(style).filter(([, value]) => value !== undefined));
}

/** The colour behind a 38 or 48, and how many codes it takes. */
function extendedColour(codes: readonly number[]): readonly [string | null, number] {
  const [kind, first = 0, second = 0, third = 0] = codes;
  if (kind === 2) return [hex(first, second, third), 4];
  if (kind !== 5) return [null, 0];
  if (first < 16) return [String(first), 2];
  if (first >= 232) return [hex(8 + (first - 232) * 10, 8 + (first - 232) * 10, 8 + (first - 232) * 10), 2];
  const cube = first - 16;
  return [hex(level(Math.floor(cube / 36)), level(Math.floor(cube / 6) % 6), level(cube % 6)), 2];
}

function level(step: number): number {
  return step ? 55 + step * 40 : 0;
}

function hex(...parts: readonly number[]): string {
  return `#${parts.map((part) => Math.min(255, Math.max(0, part)).toString(16).padStart(2, "0")).join("")}`;
}
