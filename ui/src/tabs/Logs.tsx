import { Empty } from "../components/states";
import type { TabProps } from "./contract";

export function Logs(_: TabProps) {
  return <Empty title="Nothing here yet" />;
}
