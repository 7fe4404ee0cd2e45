/** A table that sorts, of which only the rows in view are drawn, with a row to move by j and k. */
import {
  createColumnHelper,
  createSortedRowModel,
  rowSortingFeature,
  type SortingState,
  sortFn_alphanumeric,
  tableFeatures,
  useTable,
} from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import { type CSSProperties, type ReactNode, useEffect, useMemo, useRef, useState } from "react";
import { useShortcuts } from "../keyboard";
import "../styles/table.css";

export interface Column<Row> {
  id: string;
  title: ReactNode;
  /** What it is sorted by; what is undefined comes last. */
  value: (row: Row) => string | number | undefined;
  /** What shows; the value when left out. */
  cell?: (row: Row) => ReactNode;
  /** A width in CSS; those without share what is left. */
  width?: string;
  /** The width where the screen is narrow, if another. */
  narrowWidth?: string;
  isNumber?: boolean;
  /** Left out where the screen is narrow. */
  isWide?: boolean;
}

interface Props<Row> {
  /** What the rows are, for those who hear the table: "Runs". */
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string;
  selected?: string | null;
  onSelect?: (key: string) => void;
  /** Enter and a click on the selected row lead there. */
  open?: (row: Row) => void;
  initialSort?: { id: string; desc: boolean };
  /** Whether it stays at its end while rows come, as long as it is there. */
  isFollowing?: boolean;
  isEndless?: { more: () => void };
}

const ROW_HEIGHT = 30;
const features = tableFeatures({
  rowSortingFeature,
  sortedRowModel: createSortedRowModel(),
  sortFns: { alphanumeric: sortFn_alphanumeric },
});
type Features = typeof features;

export function DataTable<Row extends object>(props: Props<Row>) {
  const { columns, keyOf, initialSort } = props;
  const [sorting, setSorting] = useState<SortingState>(initialSort ? [initialSort] : []);
  const definitions = useMemo(() => {
    const helper = createColumnHelper<Features, Row>();
    return columns.map((column) =>
      helper.accessor((row): unknown => column.value(row), {
        id: column.id,
        sortUndefined: "last",
        sortFn: "alphanumeric",
      }),
    );
  }, [columns]);
  const data = useMemo(() => [...props.rows], [props.rows]);
  const table = useTable<Features, Row>({
    features,
    columns: definitions,
    data,
    state: { sorting },
    onSortingChange: setSorting,
    getRowId: keyOf,
  });
  const rows = table.getRowModel().rows.map((row) => row.original);
  const toggle = (id: string) => {
    const now = sorting[0]?.id === id ? sorting[0] : null;
    setSorting(now?.desc ? [] : [{ id, desc: now !== null }]);
  };
  return <Rows {...props} rows={rows} sorted={sorting[0] ?? null} sortBy={toggle} />;
}

interface RowsProps<Row> extends Props<Row> {
  sorted: { id: string; desc: boolean } | null;
  sortBy: (id: string) => void;
}

function Rows<Row>(props: RowsProps<Row>) {
  const { label, columns, rows, keyOf, selected, onSelect, open } = props;
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    overscan: 12,
    scrollPaddingStart: ROW_HEIGHT,
  });
  const at = selected == null ? -1 : rows.findIndex((row) => keyOf(row) === selected);
  const move = (by: number) => {
    const to = Math.max(0, Math.min(rows.length - 1, at < 0 ? (by > 0 ? 0 : rows.length - 1) : at + by));
    const row = rows[to];
    if (row !== undefined) onSelect?.(keyOf(row));
    virtual.scrollToIndex(to);
  };
  useShortcuts(
    moves(onSelect !== undefined, open !== undefined, move, () => rows[at] !== undefined && open?.(rows[at])),
  );
  useEffect(() => {
    if (at >= 0) virtual.scrollToIndex(at, { align: "auto" });
    // eslint-disable-next-line react-hooks/exhaustive-deps -- only when another one is selected, or it has just come
  }, [selected, at >= 0]);
  useFollowing(scroller, rows.length, props.isFollowing ?? false);
  const items = virtual.getVirtualItems();
  const last = items.at(-1)?.index ?? 0;
  const more = props.isEndless?.more;
  useEffect(() => {
    if (more && last >= rows.length - 1) more();
  }, [more, last, rows.length]);
  const above = items[0]?.start ?? 0;
  const below = virtual.getTotalSize() - (items.at(-1)?.end ?? 0);
  return (
    <div ref={scroller} className="table-scroller" tabIndex={0} role="region" aria-label={label}>
      <table className="table" aria-rowcount={rows.length + 1} style={leastWidths(columns)}>
        <colgroup>
          {columns.map((column) => (
            <col key={column.id} className={classes(column)} style={widths(column)} />
          ))}
        </colgroup>
        <Heads {...props} />
        <tbody>
          {above > 0 && <tr aria-hidden="true" style={{ height: above }} />}
          {items.map((item) => {
            const row = rows[item.index];
            if (row === undefined) return null;
            const key = keyOf(row);
            return (
              <tr
                key={key}
                aria-rowindex={item.index + 2}
                aria-current={key === selected ? "true" : undefined}
                onClick={(event) => {
                  if (!(event.target as HTMLElement).closest("a, button") && !window.getSelection()?.toString())
                    onSelect?.(key);
                }}
                onDoubleClick={() => open?.(row)}
              >
                {columns.map((column) => (
                  <td key={column.id} className={classes(column)}>
                    {column.cell ? column.cell(row) : column.value(row)}
                  </td>
                ))}
              </tr>
            );
          })}
          {below > 0 && <tr aria-hidden="true" style={{ height: below }} />}
        </tbody>
      </table>
    </div>
  );
}

function Heads<Row>({ columns, sorted, sortBy }: RowsProps<Row>) {
  return (
    <thead>
      <tr aria-rowindex={1}>
        {columns.map((column) => {
          const order = sorted?.id === column.id ? (sorted.desc ? "descending" : "ascending") : undefined;
          return (
            <th key={column.id} scope="col" className={classes(column)} aria-sort={order}>
              <button type="button" onClick={() => sortBy(column.id)}>
                {column.title}
                {order && (
                  <span aria-hidden="true" className="sort-sign">
                    {order === "ascending" ? "▴" : "▾"}
                  </span>
                )}
              </button>
            </th>
          );
        })}
      </tr>
    </thead>
  );
}

/** Custom properties of CSS, which know how wide the screen is. */
function widths<Row>({ width, narrowWidth }: Column<Row>): CSSProperties {
  return { "--width": width, "--narrow-width": narrowWidth ?? width } as CSSProperties;
}

const LEAST = "8rem"; // of a column that has no width

function leastWidths<Row>(columns: readonly Column<Row>[]): CSSProperties {
  const narrow = columns.filter((column) => !column.isWide).map((one) => one.narrowWidth ?? one.width ?? LEAST);
  const wide = columns.map((one) => one.width ?? LEAST);
  return { "--least": `calc(${wide.join(" + ")})`, "--narrow-least": `calc(${narrow.join(" + ")})` } as CSSProperties;
}

function classes<Row>(column: Column<Row>): string | undefined {
  return [column.isNumber && "number", column.isWide && "wide"].filter(Boolean).join(" ") || undefined;
}

function moves(canSelect: boolean, canOpen: boolean, move: (by: number) => void, open: () => void) {
  return [
    ...(canSelect
      ? [
          { keys: ["j", "ArrowDown"], does: "next row", run: () => move(1) },
          { keys: ["k", "ArrowUp"], does: "row before", run: () => move(-1) },
        ]
      : []),
    ...(canOpen ? [{ keys: ["Enter"], does: "open the row", run: open }] : []),
  ];
}

/** Keeps to the end while rows come, unless somebody has scrolled up. */
function useFollowing(scroller: React.RefObject<HTMLDivElement | null>, rows: number, isFollowing: boolean): void {
  const wasAtEnd = useRef(true);
  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const scrolled = () => {
      wasAtEnd.current = element.scrollTop + element.clientHeight >= element.scrollHeight - 2 * ROW_HEIGHT;
    };
    element.addEventListener("scroll", scrolled, { passive: true });
    return () => element.removeEventListener("scroll", scrolled);
  }, [scroller]);
  useEffect(() => {
    const element = scroller.current;
    if (element && isFollowing && wasAtEnd.current) element.scrollTo({ top: element.scrollHeight });
  }, [scroller, rows, isFollowing]);
}
