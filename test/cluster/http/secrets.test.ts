// What is taken for the secret: it alone, however much of it is right.
import { describe, expect, it } from 'vitest';
import { createSecretTest } from '../../../cluster/http/secrets.js';

describe.each(['0123456789abcdef', 'geheimnis-für-alle', 'nul\0nul\0'])('the test for %j', (secret) => {
  const isSecret = createSecretTest(secret);

  it('takes the secret, again and again', () => {
    expect([isSecret(secret), isSecret(`${secret}x`), isSecret(secret)]).toEqual([true, false, true]);
  });

  it.each([
    ['nothing', ''],
    ['a part', secret.slice(0, -1)],
    ['more', `${secret}x`],
    ['more, of several bytes', `${secret}ü`],
    ['more of nothing', `${secret}\0`],
    ['its first character changed', `X${secret.slice(1)}`],
    ['its last character changed', `${secret.slice(0, -1)}X`],
    ['its last character changed for one of several bytes', `${secret.slice(0, -1)}€`],
    ['it twice', secret + secret],
  ])('refuses %s', (_what, presented) => {
    expect(isSecret(secret)).toBe(true);
    expect(isSecret(presented)).toBe(false);
  });
});
