// `node:http` alone with the path, the header check and the answer of a claim: what Node costs without any framework. No design;
// nobody would write a service like this, and nothing in Node is cheaper.
import { once } from 'node:events';
import { createServer } from 'node:http';
import { receipt, userOf } from './claim-route.js';
import { runServer } from './server-workers.js';

const CLAIM = /^\/v1\/coupons\/([^/]+)\/claims$/;
const JSON_TYPE = 'application/json; charset=utf-8';

await runServer(async () => {
  let claims = 0;
  const server = createServer((request, response) => {
    const answer = (status: number, body: object): void => {
      const text = JSON.stringify(body);
      response.writeHead(status, { 'content-type': JSON_TYPE, 'content-length': Buffer.byteLength(text) });
      response.end(text);
    };
    const couponId = CLAIM.exec(request.url ?? '')?.[1];
    const userId = userOf(request.headers);
    if (request.url === '/healthz') answer(200, { status: 'ok' });
    else if (couponId === undefined) answer(404, { code: 'not_found' });
    else if (userId === undefined) answer(401, { code: 'unauthenticated' });
    else answer(201, receipt('claimed', couponId, userId, ++claims));
  });
  server.listen({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
});
