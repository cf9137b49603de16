// A preload that plants a bug into the real ledger as it is loaded: it takes claims out of the outbox before their rows are
// committed, so that those of a ledger that dies in between are lost. A run of the fault test must find it. The files stay
// untouched.
import { register } from 'node:module';
import { pathToFileURL } from 'node:url';

register('./early-acknowledgement-loader.mjs', pathToFileURL(import.meta.filename));
