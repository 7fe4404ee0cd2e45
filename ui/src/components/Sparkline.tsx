/** A small curve of numbers in their order. */
const [WIDTH, HEIGHT] = [96, 18];

export function Sparkline({ numbers }: { numbers: readonly number[] }) {
  const low = Math.min(...numbers);
  const span = Math.max(...numbers) - low || 1;
  const step = WIDTH / Math.max(1, numbers.length - 1);
  const points = numbers.map(
    (n, i) => `${(i * step).toFixed(1)},${(HEIGHT - 2 - ((n - low) / span) * (HEIGHT - 4)).toFixed(1)}`,
  );
  return (
    <svg className="sparkline" width={WIDTH} height={HEIGHT} viewBox={`0 0 ${WIDTH} ${HEIGHT}`} aria-hidden="true">
      <polyline points={points.join(" ")} />
    </svg>
  );
}
