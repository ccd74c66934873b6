/** Runs benchmarks one after another. */
import { loadavg } from 'node:os'
import { createSeededRandom } from '../common/seeded-random.js'
import { packageVersions, readMachine, type Machine } from '../common/machine.js'
import type { Section } from './benchmark.js'
import type { BenchOptions } from './bench-options.js'
import type { LeftOut, Runnable } from './runnable.js'

export interface BenchRun {
  /** ISO 8601, of its start. */
  readonly startedAt: string
  readonly tookSecs: number
  readonly seed: number
  readonly isQuick: boolean
  readonly machine: Machine
  /** What the machine was busy with when it began: the average number of processes that ran or waited to, over a minute. */
  readonly loadBefore: number
  /** Of PostgreSQL, and of the packages that take part. */
  readonly versions: Readonly<Record<string, string>>
  readonly benchmarks: readonly BenchmarkResult[]
  readonly leftOut: readonly LeftOut[]
}

export interface BenchmarkResult {
  readonly name: string
  readonly sections: readonly Section[]
}

export async function runBenchmarks(
  { benchmarks, leftOut }: Runnable,
  { isQuick, seed }: Pick<BenchOptions, 'isQuick' | 'seed'>,
  progress: (line: string) => void,
): Promise<BenchRun> {
  const startedAt = new Date()
  const [loadBefore = 0] = loadavg()
  const machine = await readMachine('.')
  const versions: Record<string, string> = { ...(await packageVersions('.', PACKAGES)) }
  const uses = (name: string, version: string): void => void (versions[name] = version)
  const results: BenchmarkResult[] = []
  for (const { name, run } of benchmarks) {
    // Each as if it ran alone: the same seed gives the same order.
    const random = createSeededRandom(seed)
    const say = (line: string): void => progress(`${name}: ${line}`)
    results.push({ name, sections: await run({ isQuick, random, progress: say, uses }) })
  }
  return {
    startedAt: startedAt.toISOString(),
    tookSecs: (Date.now() - startedAt.getTime()) / 1_000,
    seed,
    isQuick,
    machine,
    loadBefore,
    versions,
    benchmarks: results,
    leftOut,
  }
}

const PACKAGES = [
  'pg',
  'postgres',
  'sequelize',
  'typeorm',
  'knex',
  'drizzle-orm',
  '@aws/aurora-dsql-node-postgres-connector',
  '@aws-sdk/credential-providers',
  '@aws-sdk/dsql-signer',
  '@aws-sdk/rds-signer',
  '@azure/postgresql-auth',
  '@azure/identity',
  'esbuild',
]
