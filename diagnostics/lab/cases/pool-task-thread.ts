// The thread of pool-task.ts: never answers, as one does that waits for a lock.
export default async function wait(): Promise<void> {
  await new Promise(() => setInterval(() => undefined, 1_000));
}
