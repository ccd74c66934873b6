/** Where the examples and the demo write to. */

/** Writes one line to standard output. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`)
}
