// The frame of every HTML page of the diagnostics: one document, one style sheet, no script, nothing loaded from
// anywhere, and the headers that hold a browser to that.
import type { Reply } from '../debug-request.js';
import { html, NOTHING } from './markup.js';
import type { Markup } from './markup.js';
import { STYLE } from './style.js';

/** Inline style, and nothing else: whatever slipped through the escaping could neither run nor load anything. */
const CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

export interface DocumentOptions {
  readonly title: string;
  readonly body: Markup;
  /** The browser loads the page again after so many seconds. */
  readonly refreshSeconds?: number;
}

export function htmlDocument({ title, body, refreshSeconds }: DocumentOptions): string {
  const refresh =
    refreshSeconds === undefined ? NOTHING : html`<meta http-equiv="refresh" content="${refreshSeconds}" />`;
  return html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        ${refresh}
        <title>${title}</title>
        <style>
          ${STYLE}
        </style>
      </head>
      <body>
        ${body}
      </body>
    </html>`.source;
}

export function htmlReply(source: string): Reply {
  return {
    type: 'text/html; charset=utf-8',
    body: source,
    headers: { 'content-security-policy': CONTENT_SECURITY_POLICY, 'referrer-policy': 'no-referrer' },
  };
}
