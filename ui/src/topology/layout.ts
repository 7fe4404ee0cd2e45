import { Graph, layout as runDagre } from "@dagrejs/dagre";
import { deviceId, IX, regionId, routerId, type Structure } from "./structure";

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export interface Layout {
  readonly boxes: ReadonlyMap<string, Box>;
  /** Frames around the many devices of one LAN, by the router's id. */
  readonly frames: ReadonlyMap<string, Box>;
  readonly width: number;
  readonly height: number;
}

export const ROUTER_SIZE = { width: 168, height: 62 };
export const DEVICE_SIZE = { width: 148, height: 44 };
export const REGION_SIZE = { width: 148, height: 40 };
export const IX_HEIGHT = 34;
/** Devices with one router are drawn one by one beside each other up to this number, in a frame beyond it. */
const MOST_LOOSE_DEVICES = 6;
const GAP = 22;
const FRAME_PADDING = 12;
const RANK_GAP = 66;
const BELOW_IX = 84;
const PART_GAP = 44;
/** Room for what is written on the links between regions. */
const REGION_GAP = 150;

/** Places for everything: the exchange as a bar on top; below it, in rows that fit a screen, what hangs together. */
export function layoutOf(structure: Structure): Layout {
  const blocks = blocksOf(structure);
  const parts = partsOf(structure, blocks).map((ids) => placePart(ids, structure, blocks));
  const boxes = new Map<string, Box>();
  const frames = new Map<string, Box>();
  const top = structure.hasIx ? IX_HEIGHT + BELOW_IX : 0;
  const { offsets, width, height } = shelve(parts, structure.regions.length > 1 ? REGION_GAP : PART_GAP);
  parts.forEach((part, index) => {
    const [left, above] = offsets[index] as readonly [number, number];
    for (const [id, box] of part.boxes) {
      const placed = { ...box, x: box.x + left, y: box.y + above + top };
      const block = blocks.get(id);
      if (block) fillBlock(block, placed, boxes, frames);
      else boxes.set(id, placed);
    }
  });
  if (structure.hasIx) boxes.set(IX, { x: 0, y: 0, width: Math.max(width, ROUTER_SIZE.width), height: IX_HEIGHT });
  return { boxes, frames, width, height: height + top };
}

/** The devices of one LAN that are on no other, as one thing to place. */
interface Block {
  readonly router: string;
  readonly devices: readonly string[];
  readonly columns: number;
  readonly isFramed: boolean;
}

function blocksOf(structure: Structure): ReadonlyMap<string, Block> {
  const byRouter = new Map<string, string[]>();
  for (const { name, routers } of structure.devices) {
    const [only, ...others] = routers;
    if (only !== undefined && others.length === 0) byRouter.set(only, [...(byRouter.get(only) ?? []), name]);
  }
  return new Map(
    [...byRouter].map(([router, devices]) => {
      const isFramed = devices.length > MOST_LOOSE_DEVICES;
      const columns = isFramed ? Math.ceil(Math.sqrt(devices.length)) : devices.length;
      return [`block:${router}`, { router, devices, columns, isFramed }] as const;
    }),
  );
}

function blockSize({ devices, columns, isFramed }: Block): { width: number; height: number } {
  const rows = Math.ceil(devices.length / columns);
  const padding = isFramed ? 2 * FRAME_PADDING : 0;
  return {
    width: columns * DEVICE_SIZE.width + (columns - 1) * GAP + padding,
    height: rows * DEVICE_SIZE.height + (rows - 1) * GAP + padding,
  };
}

function fillBlock(block: Block, place: Box, boxes: Map<string, Box>, frames: Map<string, Box>): void {
  const padding = block.isFramed ? FRAME_PADDING : 0;
  if (block.isFramed) frames.set(routerId(block.router), place);
  block.devices.forEach((name, index) => {
    const column = index % block.columns;
    const row = Math.floor(index / block.columns);
    boxes.set(deviceId(name), {
      ...DEVICE_SIZE,
      x: place.x + padding + column * (DEVICE_SIZE.width + GAP),
      y: place.y + padding + row * (DEVICE_SIZE.height + GAP),
    });
  });
}

/** The edges that the layout follows, downwards. */
function edgesOf(structure: Structure, blocks: ReadonlyMap<string, Block>): (readonly [from: string, to: string])[] {
  const edges: (readonly [string, string])[] = [];
  for (const { name, parent } of structure.routers)
    if (parent !== null && parent !== IX) edges.push([parent, routerId(name)]);
  for (const { name, routers } of structure.devices)
    if (routers.length > 1) for (const router of routers) edges.push([routerId(router), deviceId(name)]);
  for (const [id, { router }] of blocks) edges.push([routerId(router), id]);
  return edges;
}

function sizeOf(id: string, blocks: ReadonlyMap<string, Block>): { width: number; height: number } {
  const block = blocks.get(id);
  if (block) return blockSize(block);
  if (id.startsWith("region:")) return REGION_SIZE;
  return id.startsWith("router:") ? ROUTER_SIZE : DEVICE_SIZE;
}

/** What hangs together without the exchange, in the order of the topology. */
function partsOf(structure: Structure, blocks: ReadonlyMap<string, Block>): string[][] {
  const ids = [
    ...structure.regions.map(regionId),
    ...structure.routers.map(({ name }) => routerId(name)),
    ...structure.devices.filter(({ routers }) => routers.length !== 1).map(({ name }) => deviceId(name)),
    ...blocks.keys(),
  ];
  const leader = new Map(ids.map((id) => [id, id]));
  const find = (id: string): string => {
    let found = id;
    while (leader.get(found) !== found) found = leader.get(found) as string;
    leader.set(id, found);
    return found;
  };
  for (const [from, to] of edgesOf(structure, blocks))
    if (leader.has(from) && leader.has(to)) leader.set(find(to), find(from));
  const parts = new Map<string, string[]>();
  for (const id of ids) parts.set(find(id), [...(parts.get(find(id)) ?? []), id]);
  return [...parts.values()];
}

interface Part {
  readonly boxes: ReadonlyMap<string, Box>;
  readonly width: number;
  readonly height: number;
}

function placePart(ids: readonly string[], structure: Structure, blocks: ReadonlyMap<string, Block>): Part {
  const graph = new Graph();
  graph.setGraph({ rankdir: "TB", nodesep: GAP, ranksep: RANK_GAP });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const id of ids) graph.setNode(id, { ...sizeOf(id, blocks) });
  for (const [from, to] of edgesOf(structure, blocks))
    if (graph.hasNode(from) && graph.hasNode(to)) graph.setEdge(from, to);
  runDagre(graph);
  const boxes = new Map<string, Box>();
  for (const id of ids) {
    const { x, y, width, height } = graph.node(id) as { x: number; y: number; width: number; height: number };
    boxes.set(id, { x: x - width / 2, y: y - height / 2, width, height });
  }
  return normalised(boxes);
}

function normalised(boxes: ReadonlyMap<string, Box>): Part {
  const all = [...boxes.values()];
  const left = Math.min(...all.map(({ x }) => x));
  const top = Math.min(...all.map(({ y }) => y));
  return {
    boxes: new Map([...boxes].map(([id, box]) => [id, { ...box, x: box.x - left, y: box.y - top }])),
    width: Math.max(...all.map(({ x, width }) => x + width)) - left,
    height: Math.max(...all.map(({ y, height }) => y + height)) - top,
  };
}

/** Parts beside each other in rows of about the shape of a screen, each row in the middle. */
function shelve(parts: readonly Part[], gap: number) {
  const area = parts.reduce((sum, { width, height }) => sum + (width + gap) * (height + gap), 0);
  const limit = Math.max(1400, Math.sqrt(area * 2.2), ...parts.map(({ width }) => width));
  const rows: { parts: number[]; width: number; height: number }[] = [];
  parts.forEach((part, index) => {
    let row = rows.at(-1);
    if (!row || row.width + gap + part.width > limit) {
      row = { parts: [], width: -gap, height: 0 };
      rows.push(row);
    }
    row.parts.push(index);
    row.width += gap + part.width;
    row.height = Math.max(row.height, part.height);
  });
  const width = Math.max(0, ...rows.map((row) => row.width));
  const offsets: (readonly [number, number])[] = [];
  let y = 0;
  for (const row of rows) {
    let x = (width - row.width) / 2;
    for (const index of row.parts) {
      offsets[index] = [x, y];
      x += (parts[index] as Part).width + gap;
    }
    y += row.height + RANK_GAP;
  }
  return { offsets, width, height: Math.max(0, y - RANK_GAP) };
}
