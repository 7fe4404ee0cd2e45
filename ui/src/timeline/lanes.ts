import type { Lab } from "../lab/model";
import { type Category, type Item, regionLane, SIM_LANE } from "./items";

export const ROW_HEIGHT = 20;
export const MARK_HEIGHT = 18;
const LANE_PADDING = 5;

/** Items of one node with their places. Lists are in order of time. */
export interface Lane {
  readonly name: string;
  readonly top: number;
  readonly height: number;
  readonly states: readonly Item[];
  readonly marks: readonly Item[];
  readonly bars: readonly { readonly item: Item; readonly row: number }[];
}

/** Lanes from top to bottom: what belongs to no node, regions, routers, devices. Devices have one in any case. */
export function lanesOf(items: readonly Item[], lab: Lab, hidden: ReadonlySet<Category>, now: number): Lane[] {
  const byLane = new Map<string, Item[]>();
  for (const item of items) {
    if (hidden.has(item.category)) continue;
    const lane = byLane.get(item.lane);
    if (lane) lane.push(item);
    else byLane.set(item.lane, [item]);
  }
  const known = [SIM_LANE, ...[...lab.regions.keys()].map(regionLane), ...lab.routers.keys()];
  const names = [...known.filter((name) => byLane.has(name)), ...lab.devices.keys()];
  const others = [...byLane.keys()].filter((name) => !names.includes(name));
  const lanes: Lane[] = [];
  let top = 0;
  for (const name of [...names, ...others]) {
    const lane = laneOf(name, top, byLane.get(name) ?? [], now);
    lanes.push(lane);
    top += lane.height;
  }
  return lanes;
}

function laneOf(name: string, top: number, items: Item[], now: number): Lane {
  const sorted = items.sort((one, other) => one.from - other.from);
  const marks = sorted.filter(({ shape }) => shape === "mark");
  const { bars, rows } = packed(
    sorted.filter(({ shape }) => shape === "bar"),
    now,
  );
  const height = Math.max(rows * ROW_HEIGHT + (marks.length ? MARK_HEIGHT : 0), ROW_HEIGHT) + 2 * LANE_PADDING;
  return { name, top, height, states: sorted.filter(({ shape }) => shape === "state"), marks, bars };
}

/** Bars in as few rows as keep them apart: each in the first that is free when it begins. */
function packed(bars: readonly Item[], now: number): { bars: Lane["bars"]; rows: number } {
  const ends: number[] = [];
  const placed = bars.map((item) => {
    const free = ends.findIndex((end) => end <= item.from);
    const row = free === -1 ? ends.length : free;
    ends[row] = item.until ?? now;
    return { item, row };
  });
  return { bars: placed, rows: ends.length };
}

export function barTop(lane: Lane, row: number): number {
  return lane.top + LANE_PADDING + (lane.marks.length ? MARK_HEIGHT : 0) + row * ROW_HEIGHT;
}

export function markMiddle(lane: Lane): number {
  return lane.top + LANE_PADDING + MARK_HEIGHT / 2;
}

/** The item at a place: the nearest mark, else the bar or state under it; `slack` is as long as a fingertip is wide. */
export function itemAt(lanes: readonly Lane[], at: number, y: number, slack: number, now: number): Item | null {
  const lane = lanes.find(({ top, height }) => y >= top && y < top + height);
  if (!lane) return null;
  if (lane.marks.length && Math.abs(y - markMiddle(lane)) <= MARK_HEIGHT / 2) {
    const mark = nearest(lane.marks, at);
    if (mark && Math.abs(mark.from - at) <= slack) return mark;
  }
  const row = Math.floor((y - barTop(lane, 0)) / ROW_HEIGHT);
  const covers = (item: Item, by: number) => item.from - by <= at && at <= (item.until ?? now) + by;
  const bars = lane.bars.filter((bar) => bar.row === row && covers(bar.item, slack)).map(({ item }) => item);
  const exact = bars.find((item) => covers(item, 0)) ?? bars[0];
  return exact ?? lane.states.find((item) => covers(item, slack / 2)) ?? null;
}

function nearest(marks: readonly Item[], at: number): Item | undefined {
  let best: Item | undefined;
  for (const mark of marks) if (!best || Math.abs(mark.from - at) < Math.abs(best.from - at)) best = mark;
  return best;
}
