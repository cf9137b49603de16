// Headers of every answer that keep browsers and caches from doing more with it than reading it once.

/** Receipts are personal, and nothing here is to be guessed at. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};
