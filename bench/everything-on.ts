// What a deployment in production has on, beyond what is on by itself (metrics, diagnostics, the log at level info, the ledger):
// the gateway that says who asks proves itself with each request. What is compared with the service gets the same requests.
import { randomBytes } from 'node:crypto';

const gatewayToken = randomBytes(16).toString('hex');

export const EVERYTHING_ON = { environment: { GATEWAY_TOKEN: gatewayToken }, identity: { gatewayToken } } as const;
