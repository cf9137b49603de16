// Keeps process.nextTick fast for as long as the process or thread lives. A preload (`--import`), since it works only before the first
// full garbage collection. See docs/decisions/0019-one-tick-is-kept.md.
import { executionAsyncResource } from 'node:async_hooks';

/**
 * What Node queues for a tick is an object whose shape V8 remembers weakly. When a full collection finds no tick waiting, the shape dies;
 * the next tick has a new one, V8 concludes that shapes vary at that place, and makes every later tick by calls into its runtime, at five
 * times the price. One tick that is alive keeps the shape.
 */
export const keptTick: object = await new Promise((resolve) => {
  process.nextTick(() => resolve(executionAsyncResource()));
});
