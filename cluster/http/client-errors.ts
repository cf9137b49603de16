// What a connection is told when its bytes are no HTTP request: a problem document on the bare socket, then the end of
// the connection. Fastify never sees these requests.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { ErrorCode } from '../../platform/errors.js';
import { rawProblem } from './problems.js';

/** Node's errors of the HTTP parser and its time limits; everything else that the parser refuses is `invalid_request`. */
const CODES: Readonly<Record<string, ErrorCode>> = {
  HPE_HEADER_OVERFLOW: 'headers_too_large',
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 'body_too_large',
  ERR_HTTP_REQUEST_TIMEOUT: 'request_timeout',
};

type ClientError = Error & { code?: string };
/** Node keeps the answer that a connection is busy with here; there is no public name for it. */
type HttpSocket = Socket & { _httpMessage?: ServerResponse | null };

/**
 * A listener for the server's `clientError`. Node reports the same connection again for every further packet, so it
 * must be harmless to repeat.
 */
export function answerClientErrors(lingerMs: number): (error: ClientError, socket: Socket) => void {
  const ending = new WeakSet<Socket>();
  return (error, socket) => {
    if (error.code === 'ECONNRESET' || socket.destroyed) {
      socket.destroy();
      return;
    }
    // Answered already: what still arrives is thrown away.
    if (!socket.writable || ending.has(socket)) return;
    ending.add(socket);
    const answering = (socket as HttpSocket)._httpMessage ?? undefined;
    if (answering?.req.complete === true) {
      // Rubbish behind a good request that is still being worked on. An answer now would be taken for the answer to
      // that request, so the connection just ends after it.
      answering.shouldKeepAlive = false;
      answering.once('close', () => {
        socket.destroySoon();
      });
    } else if (answering?.headersSent === true) {
      // Its answer is on the way although the request never ended, and there is no second one.
      socket.destroySoon();
    } else {
      answerAndLinger(socket, rawProblem(CODES[error.code ?? ''] ?? 'invalid_request', detailOf(error)), lingerMs);
    }
  };
}

/** Answers a CONNECT, which Node would otherwise hang up on. */
export function refuseConnect(lingerMs: number): (request: IncomingMessage, socket: Socket) => void {
  return (_request, socket) => {
    answerAndLinger(socket, rawProblem('invalid_request', 'CONNECT is not for this server.'), lingerMs);
  };
}

/**
 * Sends, then keeps reading for a moment: closing a socket with unread bytes resets the connection, and the reset can
 * overtake the answer.
 */
function answerAndLinger(socket: Socket, answer: string, lingerMs: number): void {
  const timer = setTimeout(() => socket.destroy(), lingerMs);
  socket.once('close', () => {
    clearTimeout(timer);
  });
  socket.end(answer);
  socket.resume();
}

function detailOf(error: ClientError): string | undefined {
  // The parser's own words, e.g. "Invalid method encountered": fixed texts, none of the client's bytes.
  return error.code?.startsWith('HPE_') === true ? error.message : undefined;
}
