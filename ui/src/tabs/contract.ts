/** What every tab of a sim gets. */
import type { RunDocument } from "../api/types";
import type { Params, SimTab } from "../routing";
import type { SimRecord } from "../state/live";

export interface TabProps {
  /** Name of the run, and of the sim's directory: what the API's addresses take. */
  run: string;
  sim: string;
  /** null until it has come. */
  runDocument: RunDocument | null;
  /** Everything that is known of the sim; a new object whenever that changes. */
  record: SimRecord;
  /** Whether more may come. */
  isLive: boolean;
  /** Selections of this tab, from the address. Unknown values are to be ignored. */
  params: Params;
  /** Changes selections in the address: null takes one away. "replace" makes no entry of the history. */
  setParams: (changes: Readonly<Record<string, string | null>>, how?: "push" | "replace") => void;
  /** Address of another tab of this sim. */
  hashOf: (tab: SimTab, params?: Params) => string;
}
