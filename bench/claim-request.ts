// One request as the load generators send it. undici's lowest layer: `request` costs twice the CPU, which on a small machine is
// taken from what is measured.
import type { Client } from 'undici';

export interface Answer {
  readonly status: number;
  readonly body: string;
}

export interface Post {
  readonly path: string;
  readonly headers: Record<string, string>;
  /** The body. */
  readonly json?: string | undefined;
}

/** `onAnswer` hears the answer, or why there is none: the connection broke, or its time was over. Once. */
export function sendPost(
  client: Client,
  { path, headers, json }: Post,
  onAnswer: (answer: Answer | Error) => void,
): void {
  let status = 0;
  let body = '';
  client.dispatch(
    { method: 'POST', path, headers, body: json ?? null },
    {
      // By this undici tells its handlers of today from those of old.
      onRequestStart: () => undefined,
      onResponseStart: (_controller, statusCode) => {
        status = statusCode;
      },
      onResponseData: (_controller, chunk) => {
        body += chunk.toString('latin1');
      },
      onResponseEnd: () => onAnswer({ status, body }),
      onResponseError: (_controller, error) => onAnswer(error),
    },
  );
}

/** `onAnswer` hears `201 claimed`, `409 sold_out`, …, or undefined when there was no answer. Once. */
export function sendClaim(
  client: Client,
  couponId: string,
  userId: string,
  onAnswer: (answer: string | undefined) => void,
): void {
  const claim = { path: `/v1/coupons/${couponId}/claims`, headers: { 'x-user-id': userId } };
  sendPost(client, claim, (answer) => onAnswer(answer instanceof Error ? undefined : textOf(answer)));
}

/** `201 claimed`, `409 sold_out`, … */
export function textOf({ status, body }: Answer): string {
  return `${status} ${/"(?:code|status)":"(\w+)"/.exec(body)?.[1] ?? 'unreadable'}`;
}

/** One request opens the connection. */
export async function openConnection(client: Client): Promise<void> {
  const { body } = await client.request({ method: 'GET', path: '/healthz' });
  await body.dump();
}
