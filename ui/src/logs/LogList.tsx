/** The lines that are loaded, of which only those in sight are drawn; more are loaded near the ends. */
import { useVirtualizer } from "@tanstack/react-virtual";
import { type KeyboardEvent, useEffect, useLayoutEffect, useRef } from "react";
import { indexOfOffset } from "./buffer";
import { Row, ROW_HEIGHT } from "./Row";
import type { LoadedLog } from "./useLog";

const NEAR_ROWS = 60;

export interface LogListProps {
  log: LoadedLog;
  start: number | null;
  query: string;
  selected: number | null;
  isFollowing: boolean;
  isLive: boolean;
  onSelect: (offset: number) => void;
  onUnfollow: () => void;
  /** The first line in sight. */
  onTop: (offset: number) => void;
  before: () => void;
  after: () => void;
}

export function LogList(props: LogListProps) {
  const { log, start, query, selected, isFollowing, isLive, onSelect, onUnfollow, onTop, before, after } = props;
  const { lines } = log;
  const scroller = useRef<HTMLDivElement>(null);
  const list = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 20,
  });
  const rows = list.getVirtualItems();
  const firstRow = rows[0]?.index ?? 0;
  const lastRow = rows.at(-1)?.index ?? 0;

  useStableScroll(scroller, log);
  useEffect(() => {
    if (log.isLoading || log.error || log.isPaused) return;
    if (firstRow < NEAR_ROWS && log.start > 0) before();
    else if (lastRow > lines.length - NEAR_ROWS && log.end < log.size) after();
  }, [firstRow, lastRow, lines.length, log, before, after]);

  const top = lines[Math.floor((list.scrollOffset ?? 0) / ROW_HEIGHT)]?.offset;
  useEffect(() => {
    if (top !== undefined) onTop(top);
  }, [top, onTop]);

  // A place that was asked for is brought into sight once, with some lines above it.
  const index = selected === null ? -1 : indexOfOffset(lines, selected);
  const isThere = lines[index]?.offset === selected;
  const shown = useRef<string | null>(null);
  useEffect(() => {
    const place = `${selected ?? ""} ${log.generation}`;
    if (!isThere || shown.current === place) return;
    shown.current = place;
    const { offsetHeight = 0, scrollTop = 0 } = scroller.current ?? {};
    const above = index * ROW_HEIGHT;
    if (above < scrollTop || above > scrollTop + offsetHeight - 2 * ROW_HEIGHT)
      list.scrollToIndex(index, { align: "center" });
  }, [index, isThere, selected, log.generation, list]);
  useEffect(() => {
    if (isFollowing && lines.length) list.scrollToIndex(lines.length - 1, { align: "end" });
  }, [isFollowing, lines, list]);

  const move = (event: KeyboardEvent) => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 30, PageUp: -30 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    if (by < 0) onUnfollow();
    const to = isThere ? index + by : by > 0 ? firstRow : lastRow;
    const line = lines[Math.min(Math.max(to, 0), lines.length - 1)];
    if (line) onSelect(line.offset);
  };
  return (
    <div
      ref={scroller}
      className="log-lines"
      role="listbox"
      aria-label="Lines"
      aria-activedescendant={isThere ? `line-${selected}` : undefined}
      tabIndex={0}
      onKeyDown={move}
      onWheel={(event) => {
        if (event.deltaY < 0) onUnfollow();
      }}
      onTouchMove={onUnfollow}
      onScroll={(event) => {
        const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
        if (isLive && scrollTop + clientHeight > scrollHeight - 2) after();
      }}
    >
      <div role="presentation" className="log-canvas" style={{ height: `${list.getTotalSize()}px` }}>
        {rows.map((row) => {
          const line = lines[row.index];
          return line ? (
            <Row
              key={line.offset}
              id={`line-${line.offset}`}
              line={line}
              top={row.start}
              start={start}
              isSelected={line.offset === selected}
              query={query}
              onSelect={onSelect}
            />
          ) : null;
        })}
      </div>
    </div>
  );
}

/** What is in sight stays in sight when lines come or go above it. */
function useStableScroll(scroller: React.RefObject<HTMLDivElement | null>, log: LoadedLog): void {
  const before = useRef({ generation: log.generation, first: log.lines[0]?.offset, lines: log.lines });
  useLayoutEffect(() => {
    const old = before.current;
    before.current = { generation: log.generation, first: log.lines[0]?.offset, lines: log.lines };
    const { current: element } = scroller;
    if (!element || old.first === undefined || log.lines[0] === undefined) return;
    if (old.generation !== log.generation) {
      element.scrollTo({ top: log.anchor === "end" ? element.scrollHeight : 0 });
      return;
    }
    const came = log.lines[0].offset < old.first ? indexOfOffset(log.lines, old.first) : 0;
    const went = log.lines[0].offset > old.first ? indexOfOffset(old.lines, log.lines[0].offset) : 0;
    if (came || went) element.scrollBy({ top: (came - went) * ROW_HEIGHT });
  }, [log, scroller]);
}
