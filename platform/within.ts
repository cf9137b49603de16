// A time limit for what has none of its own. Leaves nothing behind: neither a timer nor a promise that nobody settles.

/** What `promise` resolves with, or `fallback` when that takes longer than `limitMs`. Rejects as `promise` does. */
export async function within<T>(limitMs: number, promise: Promise<T>, fallback: T): Promise<T> {
  let giveUp = (): void => undefined;
  const late = new Promise<T>((resolve) => {
    const timer = setTimeout(resolve, limitMs, fallback);
    giveUp = () => {
      clearTimeout(timer);
      resolve(fallback);
    };
  });
  return await Promise.race([promise, late]).finally(giveUp);
}
