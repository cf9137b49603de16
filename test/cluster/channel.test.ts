// The line between processes: answers, time limits, late and malformed messages.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { pino } from 'pino';
import type { ProcessStatus } from '../../cluster/actor.js';
import { Channel, REQUEST_TIMEOUT_MS } from '../../cluster/channel.js';
import type { Message } from '../../cluster/messages.js';
import '../harness/no-leaks.js';

const log = pino({ level: 'silent' });
const primary: ProcessStatus = {
  name: 'primary',
  role: 'primary',
  pid: 1,
  state: 'ready',
  unreadyReasons: [],
  startedAt: 0,
  restarts: 0,
};

describe('Channel', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  function asking(): { channel: Channel; sent: Message[] } {
    const sent: Message[] = [];
    return { channel: new Channel({ peer: 'primary', send: (message) => sent.push(message), notices: {}, log }), sent };
  }

  it('carries a request there and its answer back', async () => {
    const worker: Channel = new Channel({
      peer: 'primary',
      send: (message) => peer.receive(message),
      notices: {},
      log,
    });
    const peer: Channel = new Channel({
      peer: 'worker',
      send: (message) => worker.receive(message),
      notices: {},
      answers: { processes: () => [primary] },
      log,
    });
    expect(await worker.request('processes')).toEqual([primary]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('rejects at the time limit, and drops the answer that comes late', async () => {
    const { channel, sent } = asking();
    const rejected = expect(channel.request('processes')).rejects.toMatchObject({
      code: 'unavailable',
      extra: { cause: 'timeout' },
    });
    await vi.advanceTimersByTimeAsync(REQUEST_TIMEOUT_MS);
    await rejected;

    const second = channel.request('processes');
    channel.receive({ kind: 'reply', id: 1, result: [] });
    channel.receive({ kind: 'reply', id: 2, result: [primary] });
    expect(await second).toEqual([primary]);
    expect(sent.map((message) => 'id' in message && message.id)).toEqual([1, 2]);
  });

  it('rejects what waits when the line closes, and everything after that', async () => {
    const { channel } = asking();
    const waiting = channel.request('processes');
    channel.close();
    const closed = { code: 'unavailable', extra: { cause: 'closed' } };
    await expect(waiting).rejects.toMatchObject(closed);
    await expect(channel.request('processes')).rejects.toMatchObject(closed);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('tells the asker when the other end failed or answered something else', async () => {
    const { channel } = asking();
    const failed = channel.request('processes');
    channel.receive({ kind: 'failure', id: 1, message: 'broken' });
    await expect(failed).rejects.toMatchObject({ message: 'broken', extra: { cause: 'failed' } });
    const malformed = channel.request('processes');
    channel.receive({ kind: 'reply', id: 2, result: [{ name: 'primary' }] });
    await expect(malformed).rejects.toMatchObject({ extra: { cause: 'malformed' } });
  });

  it('drops what is no message, and what is meant for the other end', () => {
    const drained: number[] = [];
    const channel = new Channel({
      peer: 'primary',
      send: () => undefined,
      notices: { drain: ({ deadline }) => drained.push(deadline) },
      log,
    });
    for (const raw of [undefined, 'drain', { kind: 'drain' }, { kind: 'drain', deadline: 'soon' }, { kind: 'other' }]) {
      channel.receive(raw);
    }
    channel.receive({ kind: 'pong', rssBytes: 1 });
    expect(drained).toEqual([]);
    channel.receive({ kind: 'drain', deadline: 5 });
    expect(drained).toEqual([5]);
  });
});
