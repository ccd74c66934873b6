/**
 * Measures competitors side by side.
 *
 * Neither mitata (1.0) nor tinybench (6.2) fits: both run one competitor to its end before the next, so that a machine that
 * is slow for ten seconds is slow for one of them; and neither compares pairs, nor opens a pool or a process for each sample.
 */
import { shuffled } from './shuffled.js'
import { summarize } from './statistics.js'

/** What is measured: one way to do the same work. */
export interface Competitor {
  readonly name: string
  /**
   * Makes what a round needs, before its first turn. What is made once and kept, such as connections, may be lucky or not for as
   * long as it is there; made anew for each round, that becomes part of the spread, and not of the result.
   */
  open?(): Promise<void>
  /** Does the work once and resolves with its figure, such as its milliseconds. */
  sample(): Promise<number>
  /** Is called after each round that was begun, also where it failed. */
  close?(): Promise<void>
}

export interface RoundOptions {
  readonly rounds: number
  /** Rounds before them that do not count. */
  readonly warmUpRounds: number
  /** How many turns everybody has in a round, of which the median counts. Default 1. */
  readonly turns?: number
  /** Turns before them that do not count. Default 0. */
  readonly warmUpTurns?: number
  /** As `Math.random`. */
  readonly random: () => number
}

/**
 * Resolves with a figure for each round, by competitor. Everybody has one turn before anybody has the next, in an order that is drawn
 * anew each time.
 */
export async function measureInterleaved(
  competitors: readonly Competitor[],
  { rounds, warmUpRounds, ...options }: RoundOptions,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const measured = new Map<string, number[]>(competitors.map(({ name }) => [name, []]))
  if (measured.size !== competitors.length) throw new Error('two competitors have one name')
  for (let round = -warmUpRounds; round < rounds; round++) {
    const figures = await measureRound(competitors, options)
    if (round < 0) continue
    for (const [name, figure] of figures) measured.get(name)!.push(figure)
  }
  return measured
}

async function measureRound(
  competitors: readonly Competitor[],
  { turns = 1, warmUpTurns = 0, random }: Omit<RoundOptions, 'rounds' | 'warmUpRounds'>,
): Promise<Map<string, number>> {
  const figures = new Map<string, number[]>(competitors.map(({ name }) => [name, []]))
  try {
    for (const competitor of shuffled(competitors, random)) await competitor.open?.()
    for (let turn = -warmUpTurns; turn < turns; turn++) {
      for (const competitor of shuffled(competitors, random)) {
        const figure = await competitor.sample()
        if (turn >= 0) figures.get(competitor.name)!.push(figure)
      }
    }
  } finally {
    for (const competitor of competitors) await competitor.close?.()
  }
  return new Map([...figures].map(([name, samples]) => [name, summarize(samples).median]))
}
