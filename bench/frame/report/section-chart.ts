/** The chart of a section, where it has one. */
import type { Section } from '../benchmark.js'
import { curveChart } from './curve-chart.js'
import { ratioChart } from './ratio-chart.js'

export function sectionChart(section: Section): string | undefined {
  switch (section.kind) {
    case 'comparison':
      return ratioChart(section)
    case 'curves':
      return curveChart(section)
    case 'counts':
      return undefined
  }
}
