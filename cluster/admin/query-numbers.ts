// Numbers in a query string. Bodies are never coerced ("5" is no number there), but in a query everything is text.
import type { preValidationHookHandler } from 'fastify';

/** More digits than any number here needs, and few enough to stay exact. */
const WHOLE_NUMBER = /^\d{1,15}$/;

/** Turns the named parameters into numbers before the schema looks at them; what is no number is left for it to refuse. */
export function numbersIn(...names: readonly string[]): preValidationHookHandler {
  return (request, _reply, done) => {
    const query = request.query as Record<string, unknown>;
    for (const name of names) {
      const value = query[name];
      if (typeof value === 'string' && WHOLE_NUMBER.test(value)) query[name] = Number(value);
    }
    done();
  };
}
