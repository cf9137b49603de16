// How a command says what it is doing: a spinner on a terminal, plain lines everywhere else. Writes to stderr; stdout
// belongs to the log and to results.
import ora from 'ora';

export interface Progress {
  /** The step that begins now; the one before it is done. */
  step(text: string): void;
  /** A line of its own that changes nothing about the step. */
  note(text: string): void;
  /** The last step is done. */
  done(): void;
  /** The last step ended here, without success. */
  stop(): void;
}

export function createProgress(): Progress {
  const { isTTY, columns } = process.stderr;
  // Some pseudo-terminals say that they are 0 columns wide, and a spinner there clears infinitely many lines.
  return isTTY && columns > 0 ? spinningProgress() : plainProgress();
}

function spinningProgress(): Progress {
  // discardStdin would put the terminal into raw mode and swallow the Ctrl-C of the process group.
  const spinner = ora({ discardStdin: false });
  return {
    step(text) {
      if (spinner.isSpinning) spinner.succeed();
      spinner.start(text);
    },
    note(text) {
      if (!spinner.isSpinning) spinner.info(text);
      else {
        const step = spinner.text;
        spinner.info(text);
        spinner.start(step);
      }
    },
    done() {
      if (spinner.isSpinning) spinner.succeed();
    },
    stop() {
      if (spinner.isSpinning) spinner.stop();
    },
  };
}

function plainProgress(): Progress {
  const line = (text: string): void => {
    process.stderr.write(`${text}\n`);
  };
  return { step: line, note: line, done: () => undefined, stop: () => undefined };
}
