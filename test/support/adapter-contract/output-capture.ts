/** Output that a client writes to the console or the process's streams, in addition to its logger. */

/** Captures output until the end of the test. The returned function returns all of it so far. */
export function captureOutput(): () => string {
  const written: string[] = []
  const keep = (...parts: unknown[]): boolean => {
    written.push(
      parts
        .map((part) => (part instanceof Uint8Array ? Buffer.from(part).toString() : String(part)))
        .join(' '),
    )
    return true
  }
  for (const method of ['debug', 'error', 'info', 'log', 'trace', 'warn'] as const)
    jest.spyOn(console, method).mockImplementation(keep)
  jest.spyOn(process.stdout, 'write').mockImplementation(keep)
  jest.spyOn(process.stderr, 'write').mockImplementation(keep)
  return () => written.join('\n')
}
