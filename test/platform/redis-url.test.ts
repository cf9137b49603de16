// What REDIS_URL may name. That wrong ones are refused, and not repeated, is in settings.test.ts.
import { expect, it } from 'vitest';
import { clusterSeeds, redisUrlProblem } from '../../platform/redis-url.js';

it('takes one URL for one server', () => {
  expect(redisUrlProblem('rediss://user:word@redis.example:6380/2')).toBeUndefined();
  expect(clusterSeeds('rediss://user:word@redis.example:6380/2')).toBeUndefined();
});

it('takes several for nodes of a cluster, with the port and the decoded credentials', () => {
  const url = 'rediss://user:a%2Cb@one.example,rediss://user:a%2Cb@[::1]:7001/0';
  expect(redisUrlProblem(url)).toBeUndefined();
  expect(clusterSeeds(url)).toEqual({
    nodes: [
      { host: 'one.example', port: 6379 },
      { host: '::1', port: 7001 },
    ],
    username: 'user',
    password: 'a,b',
    tls: true,
  });
});

it('says what is wrong with a list', () => {
  expect(redisUrlProblem('redis://:a,b@one')).toContain('%2C');
  expect(redisUrlProblem('redis://one,redis://two/1')).toContain('database 0');
  expect(redisUrlProblem('redis://one,rediss://two')).toContain('same protocol');
});
