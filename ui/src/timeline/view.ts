/** The part of the run's time that is shown, and what follows from it. Times are milliseconds. */

export interface View {
  readonly from: number;
  readonly to: number;
}

const SHORTEST_MS = 0.02;
/** Room beside the first and the last item. */
const MARGIN = 0.02;

/** All of the run. */
export function wholeView(start: number, end: number): View {
  const length = Math.max(end - start, 1);
  return { from: start - length * MARGIN, to: start + length * (1 + MARGIN) };
}

/** Makes the shown time `factor` times as long; what is at `fixed` stays where it is. */
export function zoomed(view: View, factor: number, fixed: number, whole: View): View {
  const length = Math.min(Math.max((view.to - view.from) * factor, SHORTEST_MS), whole.to - whole.from);
  const share = (fixed - view.from) / (view.to - view.from);
  return withinWhole({ from: fixed - share * length, to: fixed + (1 - share) * length }, whole);
}

export function panned(view: View, by: number, whole: View): View {
  return withinWhole({ from: view.from + by, to: view.to + by }, whole);
}

function withinWhole({ from, to }: View, whole: View): View {
  const by = Math.max(0, whole.from - from) - Math.max(0, to - whole.to);
  return { from: Math.max(whole.from, from + by), to: Math.min(whole.to, to + by) };
}

/** The view with a moment in it: the same one, or one of the same length around it. */
export function showing(view: View, at: number, whole: View): View {
  const length = view.to - view.from;
  if (at >= view.from + length * 0.05 && at <= view.to - length * 0.05) return view;
  return panned(view, at - (view.from + view.to) / 2, whole);
}

/** Round moments for the axis, relative to `start`, about `room` pixels apart. */
export function ticks(view: View, start: number, width: number, room = 90): { at: number; label: string }[] {
  const least = ((view.to - view.from) * room) / Math.max(width, 1);
  const magnitude = 10 ** Math.floor(Math.log10(least));
  const step = ([1, 2, 5, 10].find((factor) => factor * magnitude >= least) ?? 10) * magnitude;
  const found: { at: number; label: string }[] = [];
  for (let n = Math.ceil((view.from - start) / step); start + n * step <= view.to; n++)
    found.push({ at: start + n * step, label: tickLabel(n * step, step) });
  return found;
}

function tickLabel(ms: number, step: number): string {
  const unit = step >= 1000 ? "s" : step >= 1 ? "ms" : "µs";
  const size = { s: 1000, ms: 1, µs: 0.001 }[unit];
  if (Math.abs(ms) < step / 2) return "0";
  // Seconds and milliseconds together where the axis is long since the start but fine.
  if (unit === "ms" && Math.abs(ms) >= 10_000) return `${(ms / 1000).toFixed(3)} s`;
  return `${Number((ms / size).toFixed(3))} ${unit}`;
}
