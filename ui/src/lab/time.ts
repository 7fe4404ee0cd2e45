/** Moments are milliseconds since 1970 with microseconds behind the point, which a double holds exactly enough. */

const FRACTION = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\d*\s*(Z|[+-]\d\d:?\d\d)?$/;
/** Whoever counts since 1970 in smaller units reaches larger numbers: the first bound that a time is below decides. */
const UNITS: readonly (readonly [bound: number, perMs: number])[] = [
  [1e11, 1e-3],
  [1e14, 1],
  [1e17, 1e3],
  [1e20, 1e6],
];

/** A moment from ISO 8601, also with a blank and a comma as Python's logging writes it; null when it is none.
 *  Without a zone it counts as UTC, in which the run directory's own times are. */
export function parseMoment(text: string): number | null {
  const match = FRACTION.exec(text.trim());
  if (!match) return null;
  const [, day, clock, fraction = "", zone = "Z"] = match;
  const whole = Date.parse(`${day}T${clock}${zone.length === 5 ? `${zone.slice(0, 3)}:${zone.slice(3)}` : zone}`);
  if (Number.isNaN(whole)) return null;
  return whole + Math.round(Number(`0.${fraction || "0"}`) * 1e6) / 1e3;
}

/** A moment from a number since 1970, in seconds, ms, µs or ns; null for one that no clock shows. */
export function momentOfNumber(value: number): number | null {
  for (const [bound, perMs] of UNITS) if (Math.abs(value) < bound) return value / perMs;
  return null;
}
