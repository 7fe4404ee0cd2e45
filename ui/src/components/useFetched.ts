/** Something fetched for as long as it is shown. */
import { useCallback, useEffect, useState } from "react";

export interface Fetched<T> {
  /** The latest that came; stays while it is fetched again. */
  value: T | null;
  error: unknown;
  isLoading: boolean;
  again: () => void;
}

interface Got<T> {
  request: string | null;
  value: T | null;
  error: unknown;
}

/** Fetches whenever `key` changes; null fetches nothing. `fetcher` is called with the signal that aborts it. */
export function useFetched<T>(key: string | null, fetcher: (signal: AbortSignal) => Promise<T>): Fetched<T> {
  const [got, setGot] = useState<Got<T>>({ request: null, value: null, error: null });
  const [attempt, setAttempt] = useState(0);
  const request = key === null ? null : `${attempt} ${key}`;
  useEffect(() => {
    if (request === null) return;
    const abort = new AbortController();
    fetcher(abort.signal).then(
      (value) => {
        if (!abort.signal.aborted) setGot({ request, value, error: null });
      },
      (error: unknown) => {
        if (!abort.signal.aborted) setGot({ request, value: null, error });
      },
    );
    return () => abort.abort();
    // eslint-disable-next-line react-hooks/exhaustive-deps -- the key stands for what the fetcher asks for
  }, [request]);
  const again = useCallback(() => setAttempt((count) => count + 1), []);
  return { value: got.value, error: got.error, isLoading: request !== null && got.request !== request, again };
}
