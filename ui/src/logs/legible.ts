/** Colours that programs chose for a ground that the page does not have, darkened or lightened until they can be read. */

type Rgb = readonly [number, number, number];

/** The darkest of the light theme's grounds under a line, and the lightest of the dark theme's. */
const LIGHT_GROUND: Rgb = [223, 234, 255];
const DARK_GROUND: Rgb = [56, 44, 79];
const BLACK: Rgb = [0, 0, 0];
const WHITE: Rgb = [255, 255, 255];
/** Of WCAG 2, for text. */
const LEAST_CONTRAST = 4.5;

const known = new Map<string, string>();

/** A CSS colour for `#rrggbb` text: as it is where that has contrast enough, in the light and in the dark theme. */
export function legible(hex: string): string {
  let colour = known.get(hex);
  if (colour === undefined) {
    const rgb = parse(hex);
    colour = `light-dark(${text(towards(rgb, BLACK, LIGHT_GROUND))}, ${text(towards(rgb, WHITE, DARK_GROUND))})`;
    known.set(hex, colour);
  }
  return colour;
}

/** How well one colour shows on another: 1 not at all, 21 as black on white. */
export function contrast(one: Rgb, other: Rgb): number {
  const [lighter, darker] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return ((lighter ?? 0) + 0.05) / ((darker ?? 0) + 0.05);
}

export function parse(hex: string): Rgb {
  const value = Number.parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function towards(colour: Rgb, end: Rgb, ground: Rgb): Rgb {
  for (let share = 0; share < 1; share += 0.05) {
    const [r, g, b] = colour.map((part, index) => Math.round(part + share * ((end[index] ?? 0) - part)));
    const mixed: Rgb = [r ?? 0, g ?? 0, b ?? 0];
    if (contrast(mixed, ground) >= LEAST_CONTRAST) return mixed;
  }
  return end;
}

function luminance(colour: Rgb): number {
  const [r = 0, g = 0, b = 0] = colour.map((part) => {
    const share = part / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function text(colour: Rgb): string {
  return `rgb(${colour.join(" ")})`;
}
