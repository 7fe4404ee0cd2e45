/** Numbers and times as text, with units. null and undefined are an empty text. */

type Maybe = number | null | undefined;
const THIN = "\u202f"; // narrow no-break space between a number and its unit

function digits(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 100) return value.toFixed(0);
  return value.toPrecision(3);
}

/** A number with three significant figures or more and a unit. */
export function quantity(value: Maybe, unit: string): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "";
  return `${digits(value)}${THIN}${unit}`;
}

export function duration(ms: Maybe): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return "";
  if (ms < 1000) return quantity(ms, "ms");
  if (ms < 60_000) return quantity(ms / 1000, "s");
  const seconds = Math.round(ms / 1000);
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  const tail = `${String(seconds % 60).padStart(2, "0")}${THIN}s`;
  return hours ? `${hours}${THIN}h ${String(minutes).padStart(2, "0")}${THIN}min` : `${minutes}${THIN}min ${tail}`;
}

const BYTES = ["B", "kB", "MB", "GB", "TB"];
const RATES = ["bit/s", "kbit/s", "Mbit/s", "Gbit/s"];

function scaled(value: Maybe, units: readonly string[]): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return "";
  let at = 0;
  let rest = value;
  while (Math.abs(rest) >= 1000 && at < units.length - 1) {
    rest /= 1000;
    at += 1;
  }
  return quantity(rest, units[at] ?? "");
}

/** Decimal multiples, as the reports have them. */
export function bytes(value: Maybe): string {
  return scaled(value, BYTES);
}

export function bitRate(bitsPerSecond: Maybe): string {
  return scaled(bitsPerSecond, RATES);
}

export function count(value: Maybe): string {
  return value === null || value === undefined ? "" : value.toLocaleString("en").replaceAll(",", THIN);
}

/** Microseconds since the epoch of an RFC 3339 time; null when it is none. Keeps the microseconds that Date drops. */
export function microseconds(timestamp: string | null | undefined): number | null {
  if (!timestamp) return null;
  const ms = Date.parse(timestamp);
  if (Number.isNaN(ms)) return null;
  const fraction = /\.(\d{1,6})/.exec(timestamp)?.[1] ?? "";
  return Math.floor(ms / 1000) * 1_000_000 + Number(fraction.padEnd(6, "0"));
}

/** Seconds since `startUs`, signed: "+1.204 s". */
export function relative(us: number | null, startUs: number | null): string {
  if (us === null || startUs === null) return "";
  const seconds = (us - startUs) / 1e6;
  return `${seconds < 0 ? "−" : "+"}${Math.abs(seconds).toFixed(3)}${THIN}s`;
}

/** Date and time of day as people here write it, of an RFC 3339 time. */
export function dateTime(timestamp: string | null | undefined): string {
  const us = microseconds(timestamp);
  if (us === null) return "";
  const date = new Date(us / 1000);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${timeOfDay(us, 0)}`;
}

/** Time of day here, with `places` decimals of the second. */
export function timeOfDay(us: number | null, places = 3): string {
  if (us === null) return "";
  const date = new Date(Math.floor(us / 1000));
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  const fraction = String(us % 1_000_000).padStart(6, "0");
  return places ? `${clock}.${fraction.slice(0, places)}` : clock;
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}

/** "1 sim", "2 sims". */
export function plural(value: number, one: string, many = `${one}s`): string {
  return `${count(value)} ${value === 1 ? one : many}`;
}
