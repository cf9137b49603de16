// Puts a function in the place of another and back. Nothing here knows what is recorded.

type AnyFunction = (...args: unknown[]) => unknown;

/**
 * Replaces `owner[name]` by what `wrap` makes of it, with the same name, length and properties (util.promisify finds its
 * own way by one of them). The function given back undoes it; if somebody else has wrapped the wrapper meanwhile, it
 * stays in place and only passes calls on.
 */
export function replaceFunction(owner: object, name: string, wrap: (original: AnyFunction) => AnyFunction): () => void {
  const property = Object.getOwnPropertyDescriptor(owner, name);
  if (property?.configurable !== true || typeof property.value !== 'function') return () => undefined;
  const original = property.value as AnyFunction;
  const recording = wrap(original);
  let isActive = true;
  function replacement(this: unknown, ...args: unknown[]): unknown {
    return Reflect.apply(isActive ? recording : original, this, args);
  }
  for (const key of Reflect.ownKeys(original)) {
    const own = Object.getOwnPropertyDescriptor(original, key);
    if (own !== undefined && key !== 'prototype') Object.defineProperty(replacement, key, own);
  }
  Object.defineProperty(owner, name, { ...property, value: replacement });
  return () => {
    isActive = false;
    if ((owner as Record<string, unknown>)[name] === replacement) Object.defineProperty(owner, name, property);
  };
}
