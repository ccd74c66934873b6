/**
 * Measures competitors in alternation, in rounds, with a control.
 *
 * mitata (1.0) and tinybench (6.2) do not fit: both finish one competitor before the next, and do not compare pairs.
 */

/** A competitor: one way to do the same work. */
export interface Competitor {
  readonly name: string
  /**
   * Sets up a round, for example a pool, before its first turn. A pool that stays open is consistently fast or slow, depending on where
   * the system placed the server's processes: the same pool, opened twice, differed by 15 %. If it is reopened for each round, this
   * becomes part of the spread instead of the result.
   */
  open(): Turns | Promise<Turns>
}

export interface Turns {
  /** Does the work once, and resolves with its cost: a time or a number of bytes. Lower is better. */
  sample(): Promise<number>
  /** Called after each round, even if the round failed. */
  close?(): Promise<void>
}

/** A competitor that keeps nothing open between two turns. */
export function competitor(name: string, sample: () => Promise<number>): Competitor {
  return { name, open: () => ({ sample }) }
}

export interface Contest {
  /** The work of the competitors, such as `pg, 5 tasks`. */
  readonly what: string
  /** The unit of the figures, such as `ms a connection`. */
  readonly unit: string
  readonly baseline: Competitor
  readonly others: readonly Competitor[]
}

export interface Effort {
  readonly rounds: number
  /** The number of warm-up rounds. Default 0. */
  readonly warmUpRounds?: number
  /** The number of turns of each competitor in a round, of which the median is used. Default 1. */
  readonly turns?: number
  /** The number of warm-up turns. Default 0. */
  readonly warmUpTurns?: number
}

/** One competitor compared with the baseline of its contest. */
export interface Row {
  readonly what: string
  readonly competitor: string
  readonly against: string
  readonly unit: string
  readonly figure: Summary
  readonly baseline: Summary
  /** The ratio to the baseline of the same round. */
  readonly compared: Summary
  /** The same for a second measurement of the baseline itself, which shows the noise. */
  readonly control: Summary
  /** One figure for each round. */
  readonly samples: readonly number[]
}

export interface Summary {
  readonly lowerQuartile: number
  readonly median: number
  readonly upperQuartile: number
}

/**
 * In each turn, every competitor runs once, in a random order. The baseline takes part twice.
 *
 * @param random like `Math.random`
 */
export async function compare(
  { what, unit, baseline, others }: Contest,
  { rounds, warmUpRounds = 0, ...turns }: Effort,
  random: () => number,
): Promise<Row[]> {
  const control = { ...baseline, name: `${baseline.name}, again` }
  const competitors = [baseline, control, ...others]
  const samples = new Map<string, number[]>(competitors.map(({ name }) => [name, []]))
  if (samples.size !== competitors.length)
    throw new Error(`two competitors of "${what}" have one name`)
  for (let round = -warmUpRounds; round < rounds; round++) {
    for (const [name, figure] of await playRound(competitors, turns, random))
      if (round >= 0) samples.get(name)!.push(figure)
  }
  const ofBaseline = samples.get(baseline.name)!
  // Pairs are from the same round, because other programs on the machine may slow down a whole round.
  const compared = (name: string): Summary =>
    summarize(
      samples.get(name)!.map((figure, round) => {
        const other = ofBaseline[round]!
        return figure / other
      }),
    )
  return others.map(({ name }) => ({
    what,
    competitor: name,
    against: baseline.name,
    unit,
    figure: summarize(samples.get(name)!),
    baseline: summarize(ofBaseline),
    compared: compared(name),
    control: compared(control.name),
    samples: samples.get(name)!,
  }))
}

/** Resolves with the median of the turns, by competitor. */
async function playRound(
  competitors: readonly Competitor[],
  { turns = 1, warmUpTurns = 0 }: Pick<Effort, 'turns' | 'warmUpTurns'>,
  random: () => number,
): Promise<[string, number][]> {
  const entered: { name: string; turns: Turns; figures: number[] }[] = []
  try {
    for (const { name, open } of shuffled(competitors, random))
      entered.push({ name, turns: await open(), figures: [] })
    for (let turn = -warmUpTurns; turn < turns; turn++) {
      for (const one of shuffled(entered, random)) {
        const figure = await one.turns.sample()
        if (turn >= 0) one.figures.push(figure)
      }
    }
    return entered.map(({ name, figures }) => [name, summarize(figures).median])
  } finally {
    for (const one of entered) await one.turns.close?.()
  }
}

/** Quantiles of type 7 of Hyndman and Fan, as in R, NumPy and spreadsheets. Throws if there are no samples. */
export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new Error('there are no samples')
  const sorted = samples.toSorted((one, other) => one - other)
  const quantile = (part: number): number => {
    const at = (sorted.length - 1) * part
    const below = sorted[Math.floor(at)]!
    return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at))
  }
  return { lowerQuartile: quantile(0.25), median: quantile(0.5), upperQuartile: quantile(0.75) }
}

/** The verdict on the competitor. `same` if it differs by no more than the baseline from itself, within the quartiles. */
export function resultOf({ compared, control }: Row): 'better' | 'worse' | 'same' {
  if (compared.median > Math.max(1, control.upperQuartile)) return 'worse'
  return compared.median < Math.min(1, control.lowerQuartile) ? 'better' : 'same'
}

/** Returns the items in a uniformly random order (Fisher and Yates). */
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const order = [...items]
  for (let last = order.length - 1; last > 0; last--) {
    const chosen = Math.floor(random() * (last + 1))
    const kept = order[last]!
    order[last] = order[chosen]!
    order[chosen] = kept
  }
  return order
}
