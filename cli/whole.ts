// Numbers on the command line. Pure.
import { InvalidArgumentError } from 'commander';

/** Reads an option that is a whole number from `min` to `max`. What it gives throws `InvalidArgumentError`, which commander shows. */
export function whole(min: number, max: number) {
  return (text: string): number => {
    const number = Number(text);
    if (!/^\d+$/.test(text) || number < min || number > max) {
      throw new InvalidArgumentError(`It must be a whole number from ${min} to ${max}.`);
    }
    return number;
  };
}
