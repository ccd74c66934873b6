/** Reproducible random numbers, for tests and benchmarks with a `--seed`. */

/** Returns a function like `Math.random` with numbers that depend on `seed` (mulberry32). */
export function createSeededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Parses a `--seed`. Throws if it is invalid. */
export function seedOf(given: string): number {
  const seed = Number(given)
  if (given === '' || !Number.isSafeInteger(seed) || seed < 0)
    throw wrongOption('seed', 'a whole number from 0', given)
  return seed
}

export function wrongOption(option: string, must: string, given: string): Error {
  return new Error(`"--${option}" must be ${must}, got "${given}"`)
}
