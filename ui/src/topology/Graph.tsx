/** The network as a picture that can be moved, zoomed and selected in. */
import {
  Background,
  BaseEdge,
  Controls,
  type Edge,
  EdgeLabelRenderer,
  type EdgeProps,
  Handle,
  type Node,
  type NodeChange,
  type NodeProps,
  Position,
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
} from "@xyflow/react";
import "@xyflow/react/dist/base.css";
import { memo, useEffect, useMemo, useRef } from "react";
import { count } from "../format";
import type { Curve } from "./edges";
import { type NodeFace, nodeFaces, type WireFace, wireFaces } from "./faces";
import type { Layout } from "./layout";
import type { Scene } from "./scene";

type FaceNode = Node<{ face: NodeFace }, "face">;
type FrameNode = Node<Record<string, never>, "frame">;
type WireEdge = Edge<{ wire: WireFace; curve: Curve }, "wire">;

const NODE_TYPES = { face: memo(Face), frame: memo(Frame) };
const EDGE_TYPES = { wire: memo(Wire) };

export interface GraphProps {
  scene: Scene;
  layout: Layout;
  selected: string | null;
  onSelect: (id: string | null) => void;
}

export function Graph(props: GraphProps) {
  return (
    <ReactFlowProvider>
      <Flow {...props} />
    </ReactFlowProvider>
  );
}

function Flow({ scene, layout, selected, onSelect }: GraphProps) {
  const flow = useReactFlow();
  const nodes = useMemo(
    () => [...frameNodes(layout), ...faceNodes(scene, layout, selected)],
    [scene, layout, selected],
  );
  const edges = useMemo(() => wireEdges(scene, layout, selected), [scene, layout, selected]);
  const shown = useRef<string | null>(null);
  useEffect(() => {
    // What was chosen in a list or by a link may be out of sight; what was clicked is not.
    if (selected === null || shown.current === selected) return;
    shown.current = selected;
    const box = layout.boxes.get(selected);
    const view = document.querySelector(".topology-graph")?.getBoundingClientRect();
    if (!box || !view) return;
    const corner = flow.flowToScreenPosition({ x: box.x, y: box.y });
    const isInSight =
      corner.x > view.left && corner.x < view.right - 40 && corner.y > view.top && corner.y < view.bottom - 20;
    if (!isInSight)
      void flow.setCenter(box.x + box.width / 2, box.y + box.height / 2, { zoom: Math.max(flow.getZoom(), 0.7) });
  }, [selected, layout, flow]);
  const onNodesChange = (changes: NodeChange<FaceNode | FrameNode>[]) => {
    const chosen = changes.find((change) => change.type === "select" && change.selected);
    if (chosen?.type === "select") {
      shown.current = chosen.id;
      onSelect(chosen.id);
    } else if (changes.some((change) => change.type === "select" && change.id === selected)) onSelect(null);
  };
  // The picture's size decides how much of it fits at first.
  return (
    <ReactFlow<FaceNode | FrameNode, WireEdge>
      className="topology-graph"
      nodes={nodes}
      edges={edges}
      nodeTypes={NODE_TYPES}
      edgeTypes={EDGE_TYPES}
      onNodesChange={onNodesChange}
      onEdgeClick={(_, edge) => onSelect(edge.id)}
      onPaneClick={() => onSelect(null)}
      nodesDraggable={false}
      nodesConnectable={false}
      edgesFocusable={false}
      deleteKeyCode={null}
      multiSelectionKeyCode={null}
      selectionKeyCode={null}
      minZoom={0.05}
      maxZoom={2}
      fitView
      fitViewOptions={{ maxZoom: 1.1, padding: 0.06 }}
      onlyRenderVisibleElements={layout.boxes.size > 300}
      proOptions={{ hideAttribution: true }}
      aria-label="Network: Tab moves through its nodes, Enter selects one"
    >
      <Background gap={24} size={1} />
      <Controls showInteractive={false} />
    </ReactFlow>
  );
}

function faceNodes(scene: Scene, layout: Layout, selected: string | null): FaceNode[] {
  return nodeFaces(scene, layout).flatMap((face) => {
    const box = layout.boxes.get(face.id);
    if (!box) return [];
    return {
      id: face.id,
      type: "face" as const,
      position: { x: box.x, y: box.y },
      width: box.width,
      height: box.height,
      data: { face },
      selected: face.id === selected,
      ariaLabel: face.spoken,
    };
  });
}

function frameNodes(layout: Layout): FrameNode[] {
  return [...layout.frames].map(([id, box]) => ({
    id: `frame ${id}`,
    type: "frame",
    position: { x: box.x, y: box.y },
    width: box.width,
    height: box.height,
    data: {},
    selectable: false,
    focusable: false,
  }));
}

function wireEdges(scene: Scene, layout: Layout, selected: string | null): WireEdge[] {
  return wireFaces(scene, layout, selected).map(({ curve, ...wire }) => ({
    id: wire.id,
    type: "wire",
    source: wire.from,
    target: wire.to,
    data: { wire, curve },
    selected: wire.id === selected,
  }));
}

function Face({ data: { face }, selected }: NodeProps<FaceNode>) {
  return (
    <div className={`face face-${face.kind} ${face.isDown ? "is-down" : ""} ${selected ? "is-selected" : ""}`}>
      <Handle type="target" position={Position.Top} isConnectable={false} />
      <div className="face-title">
        <span className="face-name">{face.name}</span>
        {face.note && <span className="face-note">{face.note}</span>}
      </div>
      <div className="face-rest">
        {face.text && <span className="face-text">{face.text}</span>}
        {face.badges.map((badge) => (
          <span key={badge.text} className={`badge badge-${badge.kind}`}>
            {badge.text}
          </span>
        ))}
      </div>
      <Handle type="source" position={Position.Bottom} isConnectable={false} />
    </div>
  );
}

function Frame() {
  return (
    <div className="frame">
      <Handle type="target" position={Position.Top} isConnectable={false} />
    </div>
  );
}

function Wire({ data, selected }: EdgeProps<WireEdge>) {
  if (!data) return null;
  const { wire, curve } = data;
  return (
    <>
      <BaseEdge
        path={curve.path}
        interactionWidth={14}
        className={`wire wire-${wire.state} ${selected ? "is-selected" : ""} ${wire.isNear ? "is-near" : ""}`}
      />
      {(wire.name || wire.label || wire.dropped > 0 || wire.state === "down") && (
        <EdgeLabelRenderer>
          <div
            className={`wire-label ${wire.state === "down" ? "is-down" : ""}`}
            style={{ transform: `translate(-50%, -50%) translate(${curve.label.x}px, ${curve.label.y}px)` }}
          >
            {wire.state === "down" && <span className="wire-down">{wire.downWord}</span>}
            {wire.name && <span className="wire-name">{wire.name}</span>}
            {wire.label && <span>{wire.label}</span>}
            {wire.dropped > 0 && <span className="wire-dropped">{count(wire.dropped)} dropped</span>}
          </div>
        </EdgeLabelRenderer>
      )}
    </>
  );
}
