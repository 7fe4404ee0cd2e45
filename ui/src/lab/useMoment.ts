/** The moment that is looked at, in the address as `t`: microseconds since 1970, as elsewhere on the page. */
import { useCallback, useEffect, useRef, useState } from "react";
import type { Params } from "../routing";

type SetParams = (changes: Readonly<Record<string, string | null>>, how?: "push" | "replace") => void;

const WRITE_AFTER_MS = 250; // browsers refuse addresses that change all the time

/** A moment in milliseconds; null when the parameter is missing or none. */
export function momentParam(text: string | undefined): number | null {
  const value = text === undefined || text === "" ? Number.NaN : Number(text);
  return Number.isFinite(value) ? value / 1000 : null;
}

export function momentText(ms: number): string {
  return String(Math.round(ms * 1000));
}

/** A value of the address that changes quickly: at once here, and a little later there. */
export function useQuickParam<T>(
  value: T,
  setParams: SetParams,
  changes: (value: T) => Readonly<Record<string, string | null>>,
): [T, (value: T) => void] {
  const [own, setOwn] = useState<{ value: T } | null>(null);
  const latest = useRef({ setParams, changes });
  useEffect(() => {
    latest.current = { setParams, changes };
  });
  useEffect(() => {
    if (own === null) return;
    const timer = window.setTimeout(() => {
      latest.current.setParams(latest.current.changes(own.value), "replace");
      setOwn(null);
    }, WRITE_AFTER_MS);
    return () => window.clearTimeout(timer);
  }, [own]);
  const change = useCallback((next: T) => setOwn({ value: next }), []);
  return [own ? own.value : value, change];
}

/** The moment of `t`; null: the end, or now. */
export function useMoment(params: Params, setParams: SetParams): [number | null, (at: number | null) => void] {
  return useQuickParam<number | null>(momentParam(params.t), setParams, (at) => ({
    t: at === null ? null : momentText(at),
  }));
}
