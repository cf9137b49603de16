// Bad requests made from an OpenAPI description: for each operation, requests that are wrong in one respect each. The same
// seed gives the same requests.
import fc from 'fast-check';

interface Parameter {
  readonly in: 'path' | 'query' | 'header';
  readonly name: string;
}
interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly type?: string | readonly string[];
  readonly enum?: readonly unknown[];
}
interface Operation {
  readonly parameters?: readonly Parameter[];
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> };
  readonly responses: Readonly<Record<string, unknown>>;
}
export interface Description {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

export interface BadRequest {
  /** `post /v1/coupons/{couponId}/claims`, and what is wrong. */
  readonly what: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  /** Statuses that the description names; undefined where the request is for none of its operations. */
  readonly documented: readonly string[] | undefined;
}

/** Header values as HTTP can carry them: bytes but for line breaks and NUL. */
const headerValue = fc
  .uint8Array({ maxLength: 90 })
  .map((bytes) => Buffer.from(bytes.filter((byte) => byte > 31 && byte !== 127)).toString('latin1'));
const BAD_SEGMENTS = [
  '',
  '%00',
  '%ff',
  '%',
  '%zz',
  '..',
  '%2e%2e',
  '%2f',
  'a%20b',
  '-'.repeat(65),
  '%F0%9F%92%A5',
  "'%20OR%201=1--",
];
const badSegment = fc.oneof(
  fc.constantFrom(...BAD_SEGMENTS),
  fc.string({ minLength: 1, unit: 'binary', maxLength: 30 }).map((text) => `%0A${encodeURIComponent(text)}`),
);
const anything = fc.anything({ maxDepth: 3, withNullPrototype: false, withBigInt: false });
const OTHER_METHODS = ['PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE', 'PROPFIND', 'POST', 'GET'];
const BROKEN_BODIES = [
  '{',
  '[]',
  'null',
  '"',
  '{"a":}',
  '\ufeff{}',
  '{"__proto__":{"a":1}}',
  '[[[[',
  'true',
  `{"a":"${'x'.repeat(20_000)}"}`,
];

/** `identity` proves who asks; some requests go without it. */
export function badRequests(
  description: Description,
  identity: Readonly<Record<string, string>>,
): fc.Arbitrary<BadRequest> {
  const operations = Object.entries(description.paths).flatMap(([template, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ template, method, operation })),
  );
  return fc.constantFrom(...operations).chain(({ template, method, operation }) => {
    const schema = operation.requestBody?.content['application/json']?.schema;
    const good = {
      method: method.toUpperCase(),
      path: template.replaceAll(/\{\w+\}/g, 'fuzz'),
      headers: { ...identity, ...(schema !== undefined && { 'content-type': 'application/json' }) },
      body: schema === undefined ? undefined : JSON.stringify(sample(schema)),
      documented: Object.keys(operation.responses),
    };
    const wrong = (how: string, change: fc.Arbitrary<Partial<BadRequest>>): fc.Arbitrary<BadRequest> =>
      change.map((changed) => ({ what: `${method} ${template}: ${how}`, ...good, ...changed }));

    const kinds = [
      wrong(
        'another method',
        fc
          .constantFrom(...OTHER_METHODS.filter((other) => other !== good.method))
          .map((other) => ({ method: other, documented: undefined })),
      ),
      wrong(
        'another address',
        badSegment.map((segment) => ({ path: `${good.path}/${segment}`, documented: undefined })),
      ),
      wrong('no identity', fc.constant({ headers: {} })),
      wrong(
        'odd identity',
        fc
          .tuple(fc.constantFrom('x-user-id', 'authorization', 'origin', 'sec-fetch-site'), headerValue)
          .map(([name, value]) => ({ headers: { ...good.headers, [name]: value } })),
      ),
      wrong(
        'odd headers',
        fc
          .dictionary(
            fc.constantFrom('accept', 'cookie', 'x-request-id', 'idempotency-key', 'x-forwarded-for', 'range'),
            headerValue,
          )
          .map((odd) => ({
            headers: { ...good.headers, ...odd },
            path: `${good.path}?${'q'.repeat(5_000)}`,
            documented: undefined,
          })),
      ),
      wrong(
        'a query that nobody asked for',
        fc.webQueryParameters().map((query) => ({ path: `${good.path}?x-unknown&${query}&limit=-1` })),
      ),
    ];
    if (template.includes('{')) {
      kinds.push(
        wrong(
          'a bad path parameter',
          badSegment.map((segment) => ({ path: template.replaceAll(/\{\w+\}/g, segment), documented: undefined })),
        ),
      );
    }
    if (schema !== undefined) {
      const names = Object.keys(schema.properties ?? {});
      const json = (value: unknown): Partial<BadRequest> => ({ body: JSON.stringify(value) });
      kinds.push(
        wrong(
          'a broken body',
          fc.constantFrom(...BROKEN_BODIES).map((body) => ({ body })),
        ),
        wrong(
          'another media type',
          headerValue.map((type) => ({ headers: { ...good.headers, 'content-type': type } })),
        ),
        wrong(
          'an odd member',
          fc
            .tuple(fc.constantFrom(...names), anything)
            .map(([name, value]) => json({ ...(sample(schema) as object), [name]: value })),
        ),
        wrong(
          'a missing member',
          fc.constantFrom(...names).map((name) => json({ ...(sample(schema) as object), [name]: undefined })),
        ),
        wrong(
          'an unknown member',
          fc
            .tuple(fc.string({ maxLength: 20 }), anything)
            .map(([name, value]) => json({ ...(sample(schema) as object), [`x${name}`]: value })),
        ),
        wrong('another shape', anything.map(json)),
      );
    }
    return fc.oneof(...kinds);
  });
}

/** A body that fits, as far as the types go. */
function sample(schema: Schema): unknown {
  if (schema.enum !== undefined) return schema.enum[0];
  switch (schema.type) {
    case 'object':
      return Object.fromEntries((schema.required ?? []).map((name) => [name, sample(schema.properties?.[name] ?? {})]));
    case 'integer':
      return 1;
    case 'boolean':
      return true;
    case 'array':
      return ['fuzz'];
    default:
      return 'fuzz';
  }
}
