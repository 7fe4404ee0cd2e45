/** A status as a sign, a colour and a word: never by colour alone. */
const SIGNS: Readonly<Record<string, { sign: string; word: string }>> = {
  ok: { sign: "✓", word: "passed" },
  error: { sign: "✗", word: "failed" },
  overloaded: { sign: "▲", word: "overloaded" },
  interrupted: { sign: "■", word: "interrupted" },
  running: { sign: "●", word: "running" },
  pending: { sign: "○", word: "pending" },
  skipped: { sign: "–", word: "skipped" },
  unreadable: { sign: "?", word: "unreadable" },
};

export function statusWord(status: string): string {
  return SIGNS[status]?.word ?? status;
}

export function Status({ status, isShort = false }: { status: string; isShort?: boolean }) {
  const { sign, word } = SIGNS[status] ?? { sign: "·", word: status };
  return (
    <span className={`status status-${status}`} title={isShort ? word : undefined}>
      <span aria-hidden="true" className="status-sign">
        {sign}
      </span>
      <span className={isShort ? "visually-hidden" : undefined}>{word}</span>
    </span>
  );
}
