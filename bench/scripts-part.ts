// The part `scripts`: the claim script alone, as a table. How it is measured is in scripts.ts.
import type { Part, ResultTable } from './part.js';
import type { ScriptResult } from './scripts.js';
import { BATCH_SIZES, measureScripts } from './scripts.js';

export const SCRIPTS: Part = {
  name: 'scripts',
  description: 'lua/claim.lua alone on a private Redis, in batches of several sizes',
  minutes: 1,
  async measure(context) {
    const results = await measureScripts(context);
    return { tables: [tableOf(results)], pictures: [], findings: [], problems: [], raw: results };
  },
};

function tableOf(results: readonly ScriptResult[]): ResultTable {
  const rows = new Map<string, ScriptResult[]>();
  for (const result of results) {
    const row = `${result.outcome}, ${result.persistence === 'none' ? 'nothing on disk' : 'appendfsync always'}`;
    rows.set(row, [...(rows.get(row) ?? []), result]);
  }
  return {
    title: 'lua/claim.lua alone, µs of redis-server per claim',
    columns: BATCH_SIZES.map((size) => `batches of ${size}`),
    rows: [...rows].map(([title, ofRow]) => ({
      title,
      digits: 2,
      cells: BATCH_SIZES.map((size) => ofRow.find(({ batchSize }) => batchSize === size)?.redisCpuMicrosPerClaim),
    })),
    notes: ['1,024 claims wait at any time, sent in smaller or larger batches.'],
  };
}
