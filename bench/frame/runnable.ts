/** Tells before anything is measured what cannot be. */
import type { Benchmark } from './benchmark.js'

export interface Runnable {
  readonly benchmarks: readonly Benchmark[]
  readonly leftOut: readonly LeftOut[]
}

export interface LeftOut {
  readonly name: string
  /** What is missing, and how to get it. */
  readonly why: string
}

/**
 * Leaves out what this machine lacks something for.
 *
 * @param areNamed whether somebody asked for these by their names: then nothing may be left out
 * @throws Error for one that was asked for and cannot run
 */
export async function runnable(chosen: readonly Benchmark[], areNamed: boolean): Promise<Runnable> {
  const benchmarks: Benchmark[] = []
  const leftOut: LeftOut[] = []
  for (const benchmark of chosen) {
    const why = await benchmark.missing?.()
    if (why === undefined) benchmarks.push(benchmark)
    else leftOut.push({ name: benchmark.name, why })
  }
  const [first] = leftOut
  if (areNamed && first !== undefined) throw new Error(leftOutText(first))
  return { benchmarks, leftOut }
}

export function leftOutText({ name, why }: LeftOut): string {
  return `the benchmark "${name}" cannot run: ${why}`
}
