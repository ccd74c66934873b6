/** The sections of what has grown. */
import type { Curve, CurveSection, Point } from '../frame/benchmark.js'
import { fitCurve } from '../frame/fit.js'
import type { MemorySample } from './growth.js'

export interface Grown {
  readonly name: string
  /** The name of what it is compared with. */
  readonly against?: string
  readonly samples: readonly MemorySample[]
}

type Measure = 'objects' | 'external' | 'resident'

/** A section for each measure of memory, of the growth since the first sample. */
export function growthSections(
  of: 'tokens' | 'connections',
  grown: readonly Grown[],
  notes: readonly string[],
): CurveSection[] {
  const one = of === 'tokens' ? 'token' : 'connection'
  const section = (
    measure: Measure,
    name: string,
    title: string,
    own: readonly string[],
  ): CurveSection => ({
    kind: 'curves',
    name: `${of}-${name}`,
    title: `${title} over ${amountOf(grown).toLocaleString('en-GB')} ${of}`,
    notes: [...notes, `The slope is in bytes for one ${one}. ${SAMPLED}`, ...own],
    x: { label: of, unit: 'thousands' },
    y: { label: 'growth', unit: 'kB' },
    fit: 'slope',
    curves: grown.map(({ name: called, against, samples }): Curve => {
      const points = growthOf(samples, measure)
      return {
        name: called,
        ...(against === undefined ? {} : { against }),
        points,
        fit: fitCurve('slope', points),
      }
    }),
  })
  return [
    section('objects', 'heap', 'Heap', [`Compiled code is not in it: ${codeGrowth(grown)}.`]),
    section('external', 'external', 'Memory that objects hold outside of the heap', []),
    section('resident', 'resident', 'Resident memory of the process', [
      'The system counts pages that the allocators of V8 and of C keep for later, too, so this rises and falls in steps.',
    ]),
  ]
}

const SAMPLED = 'Before each sample all garbage is collected.'

/** In thousands of times and of bytes, so that the slope is in bytes. */
function growthOf(samples: readonly MemorySample[], measure: Measure | 'code'): Point[] {
  const [first] = samples
  return samples.map((sample) => ({
    x: sample.done / 1_000,
    y: (sample[measure] - first![measure]) / 1_000,
  }))
}

function amountOf(grown: readonly Grown[]): number {
  return grown[0]!.samples.at(-1)!.done
}

/** Code is compiled for a while, and then no more. */
function codeGrowth(grown: readonly Grown[]): string {
  const grew = grown.map(({ name, samples }) => {
    const points = growthOf(samples, 'code')
    const half = points[Math.floor(points.length / 2)]!.y
    return `${name} ${kilobytes(half)} in the first half and ${kilobytes(points.at(-1)!.y - half)} in the second`
  })
  return `it grew by, in kB: ${grew.join('; ')}`
}

function kilobytes(value: number): string {
  return Math.round(value).toLocaleString('en-GB')
}
