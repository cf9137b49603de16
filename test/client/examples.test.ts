// The examples of docs/client.md as they are printed, type-checked and run against the real API server; only the address differs.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import ts from 'typescript';
import { beforeAll, expect, it } from 'vitest';
import { packagePath } from '../../platform/package-root.js';
import { atEndOfFile } from '../harness/cleanup.js';
import { startPublicApi } from '../cluster/http/public-api.js';
import { unusedPort } from '../cluster/http/raw-http.js';

const RUN_LIMIT_MS = 60_000;
const PRINTED_URL = 'http://127.0.0.1:8080';
/** Below the package, as a program that has it installed: it imports the client by its name. */
let folder: string;
let claiming: string;
let givingUp: string;

beforeAll(async () => {
  await mkdir(packagePath('.stampede'), { recursive: true, mode: 0o700 });
  folder = await mkdtemp(packagePath('.stampede', 'examples-'));
  atEndOfFile(() => rm(folder, { recursive: true, force: true }));
  const text = await readFile(packagePath('docs', 'client.md'), 'utf8');
  const examples = [...text.matchAll(/^```ts\n([^]*?)^```$/gm)].map(([, code]) => code ?? '');
  expect(examples).toHaveLength(2);
  [claiming = '', givingUp = ''] = examples;
});

/** What the compiler says of a program, with the settings of this project. */
async function complaintsAbout(program: string): Promise<string[]> {
  const source = join(folder, 'checked.mts');
  await writeFile(source, program);
  const { config } = ts.readConfigFile(packagePath('tsconfig.json'), (path) => ts.sys.readFile(path)) as {
    config: unknown;
  };
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, packagePath());
  const compiled = ts.createProgram([source], { ...options, incremental: false, noEmit: true });
  return ts
    .getPreEmitDiagnostics(compiled)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, '\n'));
}

/** The lines that a program prints. */
async function run(program: string, port: number): Promise<string[]> {
  const file = join(folder, 'run.mjs');
  const { outputText } = ts.transpileModule(program.replace(PRINTED_URL, `http://127.0.0.1:${port}`), {
    compilerOptions: { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext },
  });
  await writeFile(file, outputText);
  const { stdout } = await promisify(execFile)(process.execPath, [file], { timeout: RUN_LIMIT_MS });
  return stdout.trimEnd().split('\n');
}

it('compile', async () => {
  expect(await complaintsAbout(claiming + givingUp)).toEqual([]);
  expect(await complaintsAbout(claiming.replace('claimNo', 'claimNumber') + givingUp)).toHaveLength(1);
});

it('claim, hear of a refusal, and handle what is left', async () => {
  const { port, claims } = await startPublicApi();
  // The coupon that the server of the tests has.
  const withOpen = (claiming + givingUp).replaceAll("'first'", "'open'");
  expect(await run(withOpen, port)).toEqual(['claim number 1']);
  expect([...claims.given.keys()]).toEqual(['open alice', 'open bob']);
  claims.refusals.set('first', 'sold_out');
  expect(await run(claiming, port)).toEqual(['no coupon: sold_out']);
});

it('do not take no answer for no claim', async () => {
  const prelude = claiming.slice(0, claiming.indexOf('const answer'));
  expect(await run(prelude + givingUp, await unusedPort())).toEqual(['ask again later: bob may have a coupon network']);
});
