// HTML and SVG as template strings that escape whatever is put into them: names and addresses come from the program that
// is watched, and it may be hostile.

export class Markup {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

type Part = string | number | Markup | readonly Markup[];

export function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Markup {
  return new Markup(strings.map((literal, index) => `${literal}${render(parts[index])}`).join(''));
}

export const NOTHING = new Markup('');

function render(part: Part | undefined): string {
  if (part === undefined) return '';
  if (part instanceof Markup) return part.source;
  if (typeof part === 'object') return part.map(({ source }) => source).join('');
  return String(part).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
