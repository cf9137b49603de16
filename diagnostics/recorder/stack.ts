// Takes stacks cheaply and reads them later. A captured Error holds on to the functions and receivers on the stack until
// it is read: so nobody keeps one for longer than a sweep of the recorder.
import type { Frame } from '../model.js';

/** Frames captured, innermost first: the recorder's own two, Node's inner ones, and the user's. */
const CAPTURE_DEPTH = 16;
/** Frames of the user's that are kept. */
const FRAMES_MAX = 10;

/** This folder: its frames are never the user's. Ends with a slash. */
const OWN_FOLDER = new URL('.', import.meta.url).href;
const OWN_PATH = import.meta.dirname + '/';

/** The main thread's half of the agent, which makes a promise for every question it is asked: no part of the program. */
const AGENT_FOLDER = new URL('../agent/', import.meta.url).href;

export interface ReadStack {
  /** The user's frames as the runtime names them, not source-mapped. */
  readonly frames: readonly Frame[];
  /** The built-in that the topmost JavaScript called, such as `new Promise` or `Promise.race`. */
  readonly builtin: string | undefined;
  /** Nobody but the agent was at work. */
  readonly isAgents: boolean;
}

/** Costs some 30 µs between other work, 5 in a tight loop. The text of the error is never made. */
export function captureStack(): Error {
  const limit = Error.stackTraceLimit;
  Error.stackTraceLimit = CAPTURE_DEPTH;
  const captured = new Error();
  Error.stackTraceLimit = limit;
  return captured;
}

/** Reads what `captureStack` took, and makes the error let go of it. Costs 10 to 20 µs. */
export function readStack(captured: Error): ReadStack {
  let sites: readonly NodeJS.CallSite[] = [];
  // eslint-disable-next-line @typescript-eslint/unbound-method -- it is put back as it was, never called
  const previous = Error.prepareStackTrace as typeof Error.prepareStackTrace | undefined;
  Error.prepareStackTrace = (_error, callSites) => {
    sites = callSites;
    return '';
  };
  try {
    // Reading the property is what runs the function above.
    Reflect.get(captured, 'stack');
  } finally {
    if (previous === undefined) delete (Error as { prepareStackTrace?: unknown }).prepareStackTrace;
    else Error.prepareStackTrace = previous;
  }
  return userFrames(sites);
}

function userFrames(sites: readonly NodeJS.CallSite[]): ReadStack {
  const own: Frame[] = [];
  const libraries: Frame[] = [];
  let builtin: string | undefined;
  let isTop = true;
  let isAgents = false;
  for (const site of sites) {
    const file = site.getFileName();
    if (file?.startsWith(OWN_FOLDER) || file?.startsWith(OWN_PATH)) continue;
    if (file?.startsWith(AGENT_FOLDER)) {
      isAgents = true;
      continue;
    }
    if (file) isTop = false;
    else if (isTop) builtin = builtinName(site);
    if (!file || file.startsWith('node:')) continue;
    (file.includes('/node_modules/') ? libraries : own).push({
      functionName: site.getFunctionName() ?? '<anonymous>',
      file,
      line: site.getLineNumber() ?? 0,
      column: site.getColumnNumber() ?? 0,
    });
  }
  // Where user's code takes part, its line is what can be changed; else the library's is all there is.
  const frames = (own.length > 0 ? own : libraries).slice(0, FRAMES_MAX);
  return { frames, builtin, isAgents: isAgents && frames.length === 0 };
}

function builtinName(site: NodeJS.CallSite): string {
  const name = site.getFunctionName() ?? '<anonymous>';
  if (site.isConstructor()) return `new ${name}`;
  return name.includes('.') ? name : `${site.getTypeName() ?? 'Promise'}.${name}`;
}
