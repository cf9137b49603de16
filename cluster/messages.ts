// Every message between the primary and its workers: one discriminated union, with the schemas that check it on receipt.
// Pure data; cluster/channel.ts moves it.
import Type from 'typebox';
import { Value } from 'typebox/value';
import type { ProcessStatus } from './actor.js';

/** Longest list of reasons, and longest reason or error text, that a process may send. */
const REASONS_MAX = 64;
const TEXT_LENGTH_MAX = 4_096;

const Text = Type.String({ maxLength: TEXT_LENGTH_MAX });
const Reasons = Type.Array(Text, { maxItems: REASONS_MAX });
const RequestId = Type.Integer({ minimum: 1 });

const ProcessStatusSchema = Type.Object({
  name: Text,
  role: Type.Union([Type.Literal('primary'), Type.Literal('http'), Type.Literal('ledger'), Type.Literal('admin')]),
  pid: Type.Integer(),
  state: Type.Union([
    Type.Literal('starting'),
    Type.Literal('unready'),
    Type.Literal('ready'),
    Type.Literal('draining'),
    Type.Literal('backoff'),
  ]),
  unreadyReasons: Reasons,
  startedAt: Type.Number(),
  restarts: Type.Integer(),
});

/** What a process may ask of the other side, and the shape of the answer. */
export const REQUESTS = {
  /** Worker → primary: every process of the instance. */
  processes: Type.Array(ProcessStatusSchema),
} as const;

export interface Answers {
  processes: ProcessStatus[];
}
export type Method = keyof Answers;

const MessageSchema = Type.Union([
  // Worker → primary.
  /** The worker listens from now on; what was sent before is lost. */
  Type.Object({ kind: Type.Literal('hello') }),
  /** `Actor.start()` is done: sockets listen, loops run. */
  Type.Object({ kind: Type.Literal('started'), unreadyReasons: Reasons }),
  /** `Actor.unreadyReasons()` has changed; empty: ready. */
  Type.Object({ kind: Type.Literal('readiness'), unreadyReasons: Reasons }),
  /** The configuration is wrong; the worker exits with `EXIT.configuration` next. */
  Type.Object({ kind: Type.Literal('fatal'), message: Text }),
  Type.Object({ kind: Type.Literal('pong') }),
  // Primary → worker.
  /** Finish and exit before `deadline`, epoch milliseconds; SIGKILL follows soon after it. */
  Type.Object({ kind: Type.Literal('drain'), deadline: Type.Number() }),
  Type.Object({ kind: Type.Literal('ping') }),
  // Both ways.
  Type.Object({ kind: Type.Literal('request'), id: RequestId, method: Type.Literal('processes') }),
  Type.Object({ kind: Type.Literal('reply'), id: RequestId, result: Type.Unknown() }),
  Type.Object({ kind: Type.Literal('failure'), id: RequestId, message: Text }),
]);

export type Message = Type.Static<typeof MessageSchema>;
export type MessageOf<K extends Message['kind']> = Extract<Message, { kind: K }>;
/** The kinds that stand alone; the other three are requests and their answers. */
export type Notice = Exclude<Message, { id: number }>;

/** The message, or undefined if it is none. */
export function parseMessage(raw: unknown): Message | undefined {
  return Value.Check(MessageSchema, raw) ? raw : undefined;
}

/** The answer to `method`, or undefined if it has another shape. */
export function parseAnswer<M extends Method>(method: M, raw: unknown): Answers[M] | undefined {
  return Value.Check(REQUESTS[method], raw) ? raw : undefined;
}

/** Cuts texts that would not pass the check of the other side. */
export function fitText(text: string): string {
  return text.slice(0, TEXT_LENGTH_MAX);
}

export function fitReasons(reasons: readonly string[]): string[] {
  return reasons.slice(0, REASONS_MAX).map(fitText);
}
