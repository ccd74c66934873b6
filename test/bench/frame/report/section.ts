/** A section with two comparisons, for the reports. */
import type { ComparisonSection } from '../../../../bench/frame/benchmark.js'
import { summarize } from '../../../../bench/frame/statistics.js'

export const section: ComparisonSection = {
  kind: 'comparison',
  name: 'adapters',
  title: 'Queries <through> pools',
  notes: [],
  unit: 'queries/s',
  better: 'more',
  comparisons: ['pg, 1 task', 'pg, 5 tasks'].map((name) => ({
    name,
    baseline: 'static',
    control: 'static, again',
    results: [
      { name: 'static', samples: [1], figure: summarize([1_234.5]), ratio: summarize([1]) },
      {
        name: 'static, again',
        samples: [1],
        figure: summarize([98.76]),
        ratio: summarize([0.9, 1, 1.1]),
      },
      {
        name: 'pg-iam',
        samples: [1],
        figure: summarize([1, 2, 3]),
        ratio: summarize([1.5, 2, 2.5]),
      },
    ],
  })),
}
