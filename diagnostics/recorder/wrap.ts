// Puts a function in the place of another and back. Nothing here knows what is recorded.

type AnyFunction = (this: never, ...args: never[]) => unknown;

/**
 * Replaces `owner[name]` by what `wrap` makes of it, with the properties of the original (util.promisify finds its own
 * way by one of them). The function given back undoes it; if somebody else has wrapped the wrapper meanwhile, it stays
 * in place: a stopped Sampler makes it pass calls on and nothing else.
 */
export function replaceFunction<F extends AnyFunction>(
  owner: object,
  name: string,
  wrap: (original: F) => F,
): () => void {
  const property = Object.getOwnPropertyDescriptor(owner, name);
  if (property?.configurable !== true || typeof property.value !== 'function') return () => undefined;
  const original = property.value as F;
  const replacement = wrap(original);
  for (const key of Reflect.ownKeys(original)) {
    const own = Object.getOwnPropertyDescriptor(original, key);
    if (own !== undefined && key !== 'prototype') Object.defineProperty(replacement, key, own);
  }
  Object.defineProperty(owner, name, { ...property, value: replacement });
  return () => {
    if ((owner as Record<string, unknown>)[name] === replacement) Object.defineProperty(owner, name, property);
  };
}
