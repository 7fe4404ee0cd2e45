/** Draws the part of the timeline that is in sight. */
import type { Item, Tone } from "./items";
import { barTop, type Lane, MARK_HEIGHT, markMiddle, ROW_HEIGHT } from "./lanes";
import { ticks, type View } from "./view";

export const AXIS_HEIGHT = 24;

export interface Scene {
  readonly lanes: readonly Lane[];
  readonly view: View;
  readonly start: number;
  readonly now: number;
  readonly width: number;
  readonly height: number;
  /** Width of the lanes' names. */
  readonly gutter: number;
  /** How far down the lanes are scrolled. */
  readonly scrolled: number;
  readonly selected: string | null;
  /** The moment that is looked at. */
  readonly cursor: number | null;
}

/** Colours of the theme, by the names of its tokens. */
export type Palette = (token: string) => string;

const TONES: Readonly<Record<Tone, string>> = {
  neutral: "series-1",
  good: "series-3",
  bad: "error",
  change: "series-2",
  custom: "series-4",
  muted: "series-8",
};
const FONT = "11px system-ui, sans-serif";
const LABEL_ROOM = 26;

export function paint(context: CanvasRenderingContext2D, scene: Scene, palette: Palette): void {
  const { width, height, gutter } = scene;
  context.clearRect(0, 0, width, height);
  context.fillStyle = palette("ground");
  context.fillRect(0, 0, width, height);
  context.font = FONT;
  context.textBaseline = "middle";
  const shown = ticks(scene.view, scene.start, width - gutter);
  context.strokeStyle = palette("line");
  context.lineWidth = 1;
  for (const { at } of shown) line(context, xOf(scene, at), AXIS_HEIGHT, height);
  clipped(context, 0, AXIS_HEIGHT, width, height - AXIS_HEIGHT, () => {
    context.translate(0, AXIS_HEIGHT - scene.scrolled);
    for (const lane of scene.lanes) {
      const isInSight = lane.top + lane.height > scene.scrolled && lane.top < scene.scrolled + height;
      if (isInSight) paintLane(context, scene, lane, palette);
    }
  });
  paintAxis(context, scene, shown, palette);
}

export function xOf({ view, width, gutter }: Pick<Scene, "view" | "width" | "gutter">, at: number): number {
  return gutter + ((at - view.from) / (view.to - view.from)) * (width - gutter);
}

export function momentAt({ view, width, gutter }: Pick<Scene, "view" | "width" | "gutter">, x: number): number {
  return view.from + ((x - gutter) / Math.max(width - gutter, 1)) * (view.to - view.from);
}

function paintLane(context: CanvasRenderingContext2D, scene: Scene, lane: Lane, palette: Palette): void {
  const { width, gutter, view, now } = scene;
  const inSight = (item: Item) => (item.until ?? now) >= view.from && item.from <= view.to;
  clipped(context, gutter, lane.top, width - gutter, lane.height, () => {
    for (const state of lane.states) if (inSight(state)) paintState(context, scene, lane, state, palette);
    for (const { item, row } of lane.bars)
      if (inSight(item)) paintBar(context, scene, item, barTop(lane, row), palette);
    paintMarks(context, scene, lane, palette);
  });
  clipped(context, 0, lane.top, gutter, lane.height, () => {
    context.fillStyle = palette("raised");
    context.fillRect(0, lane.top, gutter, lane.height);
    context.fillStyle = palette("text");
    context.fillText(fitting(context, lane.name, gutter - 12), 8, lane.top + Math.min(lane.height / 2, 16));
  });
  context.strokeStyle = palette("line");
  line(context, 0, lane.top + lane.height - 0.5, lane.top + lane.height - 0.5, width);
}

function paintState(context: CanvasRenderingContext2D, scene: Scene, lane: Lane, item: Item, palette: Palette): void {
  const [x1, x2] = edges(scene, item);
  context.fillStyle = palette("error-ground");
  context.fillRect(x1, lane.top + 1, x2 - x1, lane.height - 2);
  context.fillStyle = palette("error");
  context.fillRect(x1, lane.top + 1, 2, lane.height - 2);
  if (item.id === scene.selected) outline(context, x1, lane.top + 2, x2 - x1, lane.height - 4, palette);
  if (
    x2 - x1 > LABEL_ROOM &&
    lane.marks.length > 0 &&
    lane.marks.every((mark) => Math.abs(xOf(scene, mark.from) - x1) > 60)
  )
    context.fillText(fitting(context, item.label, x2 - x1 - 8), x1 + 6, markMiddle(lane));
  else if (x2 - x1 > LABEL_ROOM && lane.marks.length === 0 && lane.bars.length === 0)
    context.fillText(fitting(context, item.label, x2 - x1 - 8), x1 + 6, lane.top + lane.height / 2);
}

function paintBar(context: CanvasRenderingContext2D, scene: Scene, item: Item, top: number, palette: Palette): void {
  const [x1, x2] = edges(scene, item);
  const colour = palette(TONES[item.tone]);
  const [y, height] = [top + 2, ROW_HEIGHT - 4];
  context.globalAlpha = 0.22;
  context.fillStyle = colour;
  context.fillRect(x1, y, x2 - x1, height);
  context.globalAlpha = 1;
  context.fillRect(x1, y, 2, height);
  context.fillRect(x1, y + height - 1.5, x2 - x1, 1.5);
  if (item.id === scene.selected) outline(context, x1, y, x2 - x1, height, palette);
  const from = Math.max(x1, scene.gutter) + 5;
  if (x2 - from > LABEL_ROOM) {
    context.fillStyle = palette("text");
    context.fillText(fitting(context, item.label, x2 - from - 3), from, y + height / 2);
  }
}

/** Marks that fall on the same pixel are drawn once; each is labelled if there is room until the next one. */
function paintMarks(context: CanvasRenderingContext2D, scene: Scene, lane: Lane, palette: Palette): void {
  const y = markMiddle(lane);
  let before = Number.NEGATIVE_INFINITY;
  lane.marks.forEach((item, index) => {
    if (item.from < scene.view.from - (scene.view.to - scene.view.from) || item.from > scene.view.to) return;
    const x = xOf(scene, item.from);
    const isSelected = item.id === scene.selected;
    if (x - before >= 1 || isSelected || item.tone === "bad") paintMark(context, x, y, item, isSelected, palette);
    before = x;
    const following = lane.marks[index + 1];
    const room = (following ? xOf(scene, following.from) : scene.width) - x - 14;
    if (room > LABEL_ROOM) {
      context.fillStyle = palette("text");
      context.fillText(fitting(context, item.label, Math.min(room, 220)), x + 8, y);
    }
  });
}

function paintMark(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  item: Item,
  isSelected: boolean,
  palette: Palette,
): void {
  const size = isSelected ? 7 : item.category === "captures" || item.tone === "muted" ? 3 : 5;
  context.fillStyle = palette(TONES[item.tone]);
  context.beginPath();
  if (item.category === "custom") context.arc(x, y, size, 0, 2 * Math.PI);
  else {
    context.moveTo(x, y - size);
    context.lineTo(x + size, y);
    context.lineTo(x, y + size);
    context.lineTo(x - size, y);
  }
  context.fill();
  if (isSelected) outline(context, x - size - 2, y - MARK_HEIGHT / 2, 2 * size + 4, MARK_HEIGHT, palette);
}

function paintAxis(
  context: CanvasRenderingContext2D,
  scene: Scene,
  shown: readonly { at: number; label: string }[],
  palette: Palette,
): void {
  context.fillStyle = palette("raised");
  context.fillRect(0, 0, scene.width, AXIS_HEIGHT);
  context.strokeStyle = palette("line-strong");
  line(context, 0, AXIS_HEIGHT - 0.5, AXIS_HEIGHT - 0.5, scene.width);
  context.fillStyle = palette("muted");
  clipped(context, scene.gutter, 0, scene.width - scene.gutter, scene.height, () => {
    for (const { at, label } of shown) context.fillText(label, xOf(scene, at) + 4, AXIS_HEIGHT / 2);
    if (scene.cursor === null) return;
    const x = xOf(scene, scene.cursor);
    context.fillStyle = palette("accent");
    context.fillRect(x - 0.75, 0, 1.5, scene.height);
  });
}

function edges(scene: Scene, item: Item): readonly [number, number] {
  const x1 = Math.max(xOf(scene, item.from), scene.gutter - 4);
  return [x1, Math.max(Math.min(xOf(scene, item.until ?? scene.now), scene.width + 4), x1 + 3)];
}

function outline(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  width: number,
  height: number,
  palette: Palette,
): void {
  context.strokeStyle = palette("accent");
  context.lineWidth = 2;
  context.strokeRect(x, y, width, height);
  context.lineWidth = 1;
}

/** From one height to another, or, with `width`, along one height. */
function line(context: CanvasRenderingContext2D, x: number, y1: number, y2: number, width = 0): void {
  context.beginPath();
  context.moveTo(x, y1);
  context.lineTo(x + width, y2);
  context.stroke();
}

function clipped(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  width: number,
  height: number,
  draw: () => void,
): void {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  draw();
  context.restore();
}

/** The text, cut where there is no room for all of it. Letters are about six pixels wide: near enough to cut by. */
function fitting(context: CanvasRenderingContext2D, text: string, room: number): string {
  if (text.length * 8 < room || context.measureText(text).width <= room) return text;
  return `${text.slice(0, Math.max(0, Math.floor(room / 6.5) - 1))}…`;
}
