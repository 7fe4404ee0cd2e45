/** The moment that is looked at, in the address as `t`: milliseconds since the run's beginning. */
import { useCallback, useEffect, useRef, useState } from "react";
import type { Params } from "../routing";

const WRITE_AFTER_MS = 250; // browsers refuse addresses that change all the time

/** `t` of the address; null when there is none, which is the end, or now. */
export function momentParam(params: Params): number | null {
  const value = params.t === undefined ? Number.NaN : Number(params.t);
  return Number.isFinite(value) ? value : null;
}

export function momentText(ms: number): string {
  return String(Math.round(ms * 1000) / 1000);
}

/** The moment, changed at once here and a little later in the address. */
export function useMoment(
  params: Params,
  setParams: (changes: Readonly<Record<string, string | null>>, how?: "push" | "replace") => void,
): [number | null, (ms: number | null) => void] {
  const fromAddress = momentParam(params);
  const [moment, setMoment] = useState(fromAddress);
  const timer = useRef<number | null>(null);
  const write = useRef(setParams);
  useEffect(() => {
    write.current = setParams;
  });
  useEffect(() => {
    if (timer.current === null) setMoment(fromAddress);
  }, [fromAddress]);
  useEffect(() => () => window.clearTimeout(timer.current ?? 0), []);
  const change = useCallback((ms: number | null) => {
    setMoment(ms);
    window.clearTimeout(timer.current ?? 0);
    timer.current = window.setTimeout(() => {
      timer.current = null;
      write.current({ t: ms === null ? null : momentText(ms) }, "replace");
    }, WRITE_AFTER_MS);
  }, []);
  return [moment, change];
}
