import { Empty } from "../components/states";
import type { TabProps } from "./contract";

export function Topology(_: TabProps) {
  return <Empty title="Nothing here yet" />;
}
