// Reads what the service instances wrote in their logs: of a line the fields that somebody asks for. What is no JSON line, such
// as a warning of Node.js, is passed over.
import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';

export interface LogLine {
  readonly msg: string;
  readonly err?: { readonly message?: string };
  /** Of a repair (coupons/reconcile.ts). */
  readonly kind?: string;
  readonly couponId?: string;
  readonly what?: string;
}

/** The lines from byte `start` on, in order. */
export async function* readServiceLog(file: string, start = 0): AsyncGenerator<LogLine> {
  for await (const text of createInterface({ input: createReadStream(file, { start }), crlfDelay: Infinity })) {
    const line = parse(text);
    if (line !== undefined) yield line;
  }
}

function parse(text: string): LogLine | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text) as LogLine;
  } catch {
    // The end of a process that was killed while it wrote.
    return undefined;
  }
}
