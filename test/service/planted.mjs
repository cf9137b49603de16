// A preload that plants faults into the service; its files stay untouched. In the real claim handler, as it is loaded, on the
// very line that asks who the user is: every claim leaves a promise behind, and the user `blocker` blocks the loop for
// BLOCK_MS. In the ledger's Piscina threads (whose files are not loaded through such hooks): every query does, on line 14.
import { createRequire, register } from 'node:module';
import { pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) register('./planting-loader.mjs', pathToFileURL(import.meta.filename));
else {
  const planted = [];
  const { PromiseConnection } = createRequire(import.meta.url)('mysql2/promise');
  const { query } = PromiseConnection.prototype;
  PromiseConnection.prototype.query = function (...args) {
    planted.push(new Promise(() => {}));
    return query.apply(this, args);
  };
}
