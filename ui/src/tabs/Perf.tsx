import { Empty } from "../components/states";
import type { TabProps } from "./contract";

export function Perf(_: TabProps) {
  return <Empty title="Nothing here yet" />;
}
