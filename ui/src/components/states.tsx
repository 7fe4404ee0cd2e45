/** What stands where there is nothing to show: nothing there, not there yet, or not to be had. */
import type { ReactNode } from "react";

export function Empty({ title, children }: { title: string; children?: ReactNode }) {
  return (
    <div className="state">
      <p className="state-title">{title}</p>
      {children && <div className="state-text">{children}</div>}
    </div>
  );
}

export function Loading({ what }: { what: string }) {
  return (
    <div className="state state-loading" role="status">
      <p className="state-title">Loading {what}…</p>
    </div>
  );
}

export function Failure({ title, error, retry }: { title: string; error: unknown; retry?: (() => void) | undefined }) {
  return (
    <div className="state" role="alert">
      <p className="state-title state-failed">{title}</p>
      <p className="state-text">{error instanceof Error ? error.message : String(error)}</p>
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}
