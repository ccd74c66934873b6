/** The statistics of samples. */

export interface Summary {
  readonly least: number
  readonly lowerQuartile: number
  readonly median: number
  readonly upperQuartile: number
  readonly most: number
}

/** Throws where there are no samples: nothing was measured then. */
export function summarize(samples: readonly number[]): Summary {
  if (samples.length === 0) throw new Error('there are no samples')
  const sorted = samples.toSorted((one, other) => one - other)
  return {
    least: quantile(sorted, 0),
    lowerQuartile: quantile(sorted, 0.25),
    median: quantile(sorted, 0.5),
    upperQuartile: quantile(sorted, 0.75),
    most: quantile(sorted, 1),
  }
}

/** Linear between the two samples next to it: type 7 of Hyndman and Fan, as in R, NumPy and spreadsheets. */
function quantile(sorted: readonly number[], part: number): number {
  const at = (sorted.length - 1) * part
  const below = sorted[Math.floor(at)]!
  return below + (sorted[Math.ceil(at)]! - below) * (at - Math.floor(at))
}

/**
 * Each sample as a part of the one that the baseline had in the same round: what slows a whole round down, such as another program on
 * the machine, slows both down.
 */
export function pairedRatios(samples: readonly number[], baseline: readonly number[]): number[] {
  if (samples.length !== baseline.length) throw new Error('the rounds are not the same')
  return samples.map((sample, round) => sample / baseline[round]!)
}
