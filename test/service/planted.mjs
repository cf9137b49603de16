// A preload that plants two faults into the real claim handler as it is loaded, on the very line that asks who the user
// is: every claim leaves a promise behind, and the user `blocker` blocks the loop for BLOCK_MS. The files stay untouched.
import { register } from 'node:module';
import { pathToFileURL } from 'node:url';

register('./planting-loader.mjs', pathToFileURL(import.meta.filename));
