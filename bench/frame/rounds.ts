/**
 * Measures competitors side by side.
 *
 * Neither mitata (1.0) nor tinybench (6.2) fits: both run one competitor to its end before the next, so that a machine that
 * is slow for ten seconds is slow for one of them; and neither compares pairs, nor opens a pool or a process for each sample.
 */
import { shuffled } from './shuffled.js'

/** What is measured: one way to do the same work. */
export interface Competitor {
  readonly name: string
  /** Does the work once and resolves with its figure, such as its milliseconds. */
  sample(): Promise<number>
}

export interface RoundOptions {
  readonly rounds: number
  /** Rounds before them that do not count. */
  readonly warmUpRounds: number
  /** As `Math.random`. */
  readonly random: () => number
}

/**
 * Resolves with a sample for each round, by competitor. In each round every competitor has one turn, in a random order.
 */
export async function measureInterleaved(
  competitors: readonly Competitor[],
  { rounds, warmUpRounds, random }: RoundOptions,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const measured = new Map<string, number[]>(competitors.map(({ name }) => [name, []]))
  if (measured.size !== competitors.length) throw new Error('two competitors have one name')
  for (let round = -warmUpRounds; round < rounds; round++) {
    for (const { name, sample } of shuffled(competitors, random)) {
      const figure = await sample()
      if (round >= 0) measured.get(name)!.push(figure)
    }
  }
  return measured
}
