/** What the command lines of all benchmarks have in common. */

/** Reads a `--seed`. Throws for what is none. */
export function seedOf(given: string): number {
  const seed = Number(given)
  if (given === '' || !Number.isSafeInteger(seed) || seed < 0)
    throw wrongOption('seed', 'a whole number from 0', given)
  return seed
}

export function wrongOption(option: string, must: string, given: string): Error {
  return new Error(`"--${option}" must be ${must}, got "${given}"`)
}
