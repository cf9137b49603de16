// One line of CSV (RFC 4180) that is also safe to open in a spreadsheet.

const NEEDS_QUOTES = /[",\r\n]/;
/** What makes a spreadsheet take a cell for a formula: a user may have chosen such an id to attack whoever opens the file. */
const FORMULA = /^[=+\-@\t\r]/;

/** The fields quoted where they must be, with CRLF. A text that looks like a formula gets an apostrophe in front. */
export function csvLine(fields: readonly (string | number)[]): string {
  return `${fields.map((field) => (typeof field === 'number' ? String(field) : csvText(field))).join(',')}\r\n`;
}

function csvText(text: string): string {
  const safe = FORMULA.test(text) ? `'${text}` : text;
  return NEEDS_QUOTES.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
