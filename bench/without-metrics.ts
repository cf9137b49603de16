// Preloaded into the processes of a service (`node --import`), it makes its metrics count nothing and tell nothing, so that their
// price can be measured. There is no setting for that: nobody should run the service blind to save so little.
import { Counter, Gauge, Histogram } from 'prom-client';
import { Metrics, Tally } from '../platform/metrics/metrics.js';

const nothing = (): void => undefined;
Counter.prototype.inc = nothing;
Gauge.prototype.set = nothing;
Histogram.prototype.observe = nothing;
Tally.prototype.count = nothing;
Metrics.prototype.snapshot = () => Promise.resolve([]);
Metrics.prototype.totals = () => Promise.resolve([]);
