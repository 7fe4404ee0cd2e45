/** The lanes as a picture: wheel, fingers and keys move and zoom it. */
import { type PointerEvent, useCallback, useEffect, useLayoutEffect, useRef, useState } from "react";
import { duration, relative } from "../format";
import { useTheme } from "../theme";
import type { Item } from "./items";
import { itemAt, type Lane } from "./lanes";
import { AXIS_HEIGHT, momentAt, paint, type Scene } from "./paint";
import { panned, type View, zoomed } from "./view";

export interface ChartProps {
  lanes: readonly Lane[];
  view: View;
  whole: View;
  start: number;
  now: number;
  selected: string | null;
  cursor: number | null;
  /** A lane to bring into sight. */
  lane: string | null;
  onView: (view: View) => void;
  /** What was pointed at, and when that was. */
  onPick: (item: Item | null, at: number) => void;
}

interface Pointer {
  x: number;
  y: number;
}

const CLICK_PX = 5;
const FINGER_PX = 8;

export function Chart(props: ChartProps) {
  const { lanes, view, whole, start, now, selected, cursor, onView, onPick } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  const [scrolled, setScrolled] = useState(0);
  const [hint, setHint] = useState<{ x: number; y: number; item: Item } | null>(null);
  const { shown: theme } = useTheme();
  const gutter = size.width < 600 ? 84 : 150;
  const last = lanes.at(-1);
  const total = AXIS_HEIGHT + (last ? last.top + last.height : 0);
  const geometry = { view, width: size.width, gutter };

  useLayoutEffect(() => {
    const { current: element } = scroller;
    if (!element) return;
    const observer = new ResizeObserver(() => setSize({ width: element.clientWidth, height: element.clientHeight }));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    const scene: Scene = { lanes, start, now, selected, cursor, scrolled, view, gutter, ...size };
    const frame = requestAnimationFrame(() => draw(canvas.current, scene));
    return () => cancelAnimationFrame(frame);
  }, [lanes, view, start, now, selected, cursor, scrolled, gutter, size, theme]);
  useLaneInSight(scroller, props);

  const pick = (x: number, y: number): Item | null => {
    const slack = (FINGER_PX * (view.to - view.from)) / Math.max(size.width - gutter, 1);
    return y < AXIS_HEIGHT ? null : itemAt(lanes, momentAt(geometry, x), y - AXIS_HEIGHT + scrolled, slack, now);
  };
  const gestures = useGestures({
    zoom: (factor, x) => onView(zoomed(view, factor, momentAt(geometry, Math.max(x, gutter)), whole)),
    pan: (dx, dy) => {
      onView(panned(view, (-dx * (view.to - view.from)) / Math.max(size.width - gutter, 1), whole));
      scroller.current?.scrollBy({ top: -dy });
    },
    click: (x, y) => onPick(pick(x, y), momentAt(geometry, x)),
    hover: (x, y) => {
      const item = pick(x, y);
      setHint(item && { x, y, item });
    },
    scrolls: total > size.height,
  });
  useWheel(canvas, gestures.wheel);
  return (
    <div ref={scroller} className="chart-scroller" onScroll={(event) => setScrolled(event.currentTarget.scrollTop)}>
      <div style={{ height: total }}>
        <canvas
          ref={canvas}
          className="chart"
          style={{ width: size.width, height: size.height }}
          role="img"
          aria-label={`Timeline of ${lanes.length} lanes; the list has the same as text`}
          {...gestures.handlers}
          onPointerLeave={() => setHint(null)}
        />
      </div>
      {hint && (
        <div
          className="chart-hint"
          style={{
            left: Math.min(hint.x + 12, size.width - 240),
            top: scrolled + Math.min(hint.y + 14, size.height - 60),
          }}
        >
          <b>{hint.item.label}</b>
          <span>{spoken(hint.item, start)}</span>
        </div>
      )}
    </div>
  );
}

/** When an item is, and for how long. */
export function spoken({ from, until, shape }: Item, start: number): string {
  const at = relative(from * 1000, start * 1000);
  if (shape === "mark") return at;
  return until === null ? `${at}, still going on` : `${at}, ${duration(until - from)}`;
}

function draw(canvas: HTMLCanvasElement | null, scene: Scene): void {
  const context = canvas?.getContext("2d");
  if (!canvas || !context || scene.width === 0) return;
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(scene.width * ratio);
  canvas.height = Math.round(scene.height * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const style = getComputedStyle(document.documentElement);
  const known = new Map<string, string>();
  paint(context, scene, (token) => {
    const colour = known.get(token) ?? style.getPropertyValue(`--${token}`);
    known.set(token, colour);
    return colour;
  });
}

function useLaneInSight(scroller: React.RefObject<HTMLDivElement | null>, { lanes, lane, selected }: ChartProps): void {
  const wanted = lanes.find(
    ({ name, bars, marks, states }) =>
      name === lane ||
      (selected !== null &&
        (marks.some(({ id }) => id === selected) ||
          states.some(({ id }) => id === selected) ||
          bars.some(({ item }) => item.id === selected))),
  );
  const [top, height] = [wanted?.top ?? null, wanted?.height ?? 0];
  useEffect(() => {
    const { current: element } = scroller;
    if (top === null || !element) return;
    const isInSight =
      top >= element.scrollTop && top + height <= element.scrollTop + element.clientHeight - AXIS_HEIGHT;
    if (!isInSight) element.scrollTo({ top: Math.max(0, top - element.clientHeight / 3) });
  }, [scroller, top, height]);
}

interface Gestures {
  zoom: (factor: number, x: number) => void;
  pan: (dx: number, dy: number) => void;
  click: (x: number, y: number) => void;
  hover: (x: number, y: number) => void;
  /** Whether there is more than the height holds, for which the wheel then is. */
  scrolls: boolean;
}

function useGestures({ zoom, pan, click, hover, scrolls }: Gestures) {
  const pointers = useRef(new Map<number, Pointer>());
  const moved = useRef(0);
  const place = (event: PointerEvent): Pointer => {
    const box = event.currentTarget.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const onPointerDown = (event: PointerEvent) => {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    event.currentTarget.setPointerCapture(event.pointerId);
    pointers.current.set(event.pointerId, place(event));
    moved.current = pointers.current.size > 1 ? CLICK_PX : 0;
  };
  const onPointerMove = (event: PointerEvent) => {
    const [before, to] = [pointers.current.get(event.pointerId), place(event)];
    if (!before) return hover(to.x, to.y);
    const other = [...pointers.current].find(([id]) => id !== event.pointerId)?.[1];
    pointers.current.set(event.pointerId, to);
    if (other) {
      const [old, now] = [Math.abs(before.x - other.x), Math.abs(to.x - other.x)];
      if (old > 10 && now > 10) zoom(old / now, (to.x + other.x) / 2);
      return;
    }
    moved.current += Math.abs(to.x - before.x) + Math.abs(to.y - before.y);
    // A finger that moves up or down scrolls by itself.
    if (moved.current >= CLICK_PX) pan(to.x - before.x, event.pointerType === "mouse" ? to.y - before.y : 0);
  };
  const onPointerUp = (event: PointerEvent) => {
    const isClick = pointers.current.delete(event.pointerId) && moved.current < CLICK_PX;
    const { x, y } = place(event);
    if (isClick) click(x, y);
  };
  const onPointerCancel = (event: PointerEvent) => void pointers.current.delete(event.pointerId);
  const wheel = useCallback(
    (event: WheelEvent, x: number) => {
      const isSideways = Math.abs(event.deltaX) > Math.abs(event.deltaY) || event.shiftKey;
      const isZoom = event.ctrlKey || event.metaKey || event.altKey || (!scrolls && !isSideways);
      if (!isZoom && !isSideways) return;
      event.preventDefault();
      const by = event.deltaMode === 1 ? 16 : 1;
      if (isZoom) zoom(Math.exp(event.deltaY * by * (event.ctrlKey ? 0.01 : 0.002)), x);
      else pan(-(event.deltaX || event.deltaY) * by, 0);
    },
    [zoom, pan, scrolls],
  );
  return { wheel, handlers: { onPointerDown, onPointerMove, onPointerUp, onPointerCancel } };
}

/** React listens to the wheel in a way that cannot keep the page from scrolling. */
function useWheel(
  canvas: React.RefObject<HTMLCanvasElement | null>,
  wheel: (event: WheelEvent, x: number) => void,
): void {
  useEffect(() => {
    const { current: element } = canvas;
    if (!element) return;
    const listen = (event: WheelEvent) => wheel(event, event.clientX - element.getBoundingClientRect().left);
    element.addEventListener("wheel", listen, { passive: false });
    return () => element.removeEventListener("wheel", listen);
  }, [canvas, wheel]);
}
