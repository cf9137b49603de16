// One claim as the load generators send it. undici's lowest layer: `request` costs twice the CPU, which on a small machine is
// taken from what is measured.
import type { Client } from 'undici';

/** `onAnswer` hears `201 claimed`, `409 sold_out`, …, or undefined when the connection broke or its time was over. Once. */
export function sendClaim(
  client: Client,
  couponId: string,
  userId: string,
  onAnswer: (answer: string | undefined) => void,
): void {
  let status = 0;
  let body = '';
  client.dispatch(
    { method: 'POST', path: `/v1/coupons/${couponId}/claims`, headers: { 'x-user-id': userId } },
    {
      // By this undici tells its handlers of today from those of old.
      onRequestStart: () => undefined,
      onResponseStart: (_controller, statusCode) => {
        status = statusCode;
      },
      onResponseData: (_controller, chunk) => {
        body += chunk.toString('latin1');
      },
      onResponseEnd: () => onAnswer(`${status} ${/"(?:code|status)":"(\w+)"/.exec(body)?.[1] ?? 'unreadable'}`),
      onResponseError: () => onAnswer(undefined),
    },
  );
}
