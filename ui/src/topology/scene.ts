import type { LinkActivity } from "../lab/counters";
import type { Lab } from "../lab/model";
import { type Link, linksOf } from "./edges";

/** Everything that the picture and the panel show of one moment. */
export interface Scene {
  readonly lab: Lab;
  readonly rebooting: ReadonlySet<string>;
  readonly links: readonly Link[];
  readonly activity: ReadonlyMap<string, LinkActivity>;
}

export function sceneOf(lab: Lab, rebooting: ReadonlySet<string>, activity: Scene["activity"]): Scene {
  return { lab, rebooting, links: linksOf(lab, rebooting), activity };
}
