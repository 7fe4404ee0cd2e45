import { Empty } from "../components/states";
import type { TabProps } from "./contract";

export function Files(_: TabProps) {
  return <Empty title="Nothing here yet" />;
}
