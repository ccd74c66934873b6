/** The time that the import of each entry takes. */
import { readFile } from 'node:fs/promises'
import type { BenchContext, Comparison, ComparisonSection } from '../frame/benchmark.js'
import { compare, controlName, type Effort } from '../frame/compare.js'
import type { Competitor } from '../frame/rounds.js'
import { coldStart, type Format } from './cold-start.js'

export async function imports(context: BenchContext, effort: Effort): Promise<ComparisonSection> {
  const entries = context.isQuick ? QUICK_ENTRIES : await entriesOfPackage()
  const comparisons: Comparison[] = []
  for (const [format, name] of Object.entries(FORMATS) as [Format, string][]) {
    context.progress(name)
    const competitor = (called: string, modules: readonly string[]): Competitor => ({
      name: called,
      sample: async () => (await coldStart({ format, modules })).importMs,
    })
    const clients = new Set(entries.flatMap((entry) => CLIENT_OF[entry] ?? []))
    const contest = {
      name,
      baseline: competitor(BASELINE, [CONNECTOR]),
      control: competitor(controlName(BASELINE), [CONNECTOR]),
      others: [
        competitor('@azure/postgresql-auth, @azure/identity', AZURE),
        ...entries.map((entry) => competitor(entry, [entry])),
        ...[...clients].map((client) => competitor(`${client} alone`, [client])),
      ],
    }
    comparisons.push(await compare(contest, effort, context))
  }
  return {
    kind: 'comparison',
    name: 'imports',
    title: 'The first import in a new process',
    notes: [
      `"AWS connector" is ${CONNECTOR}, which loads pg, too. The entry of a client may load`,
      'that client, as the application does anyway: see it beside the client alone.',
    ],
    unit: 'ms',
    better: 'less',
    comparisons,
  }
}

const CONNECTOR = '@aws/aurora-dsql-node-postgres-connector'
const BASELINE = 'AWS connector'
const AZURE = ['@azure/postgresql-auth', '@azure/identity']
const FORMATS: Readonly<Record<Format, string>> = { esm: 'import, ESM', cjs: 'require, CommonJS' }
const QUICK_ENTRIES: readonly string[] = ['pg-iam', 'pg-iam/pg']

/** What an application with that entry loads anyway. */
const CLIENT_OF: Readonly<Record<string, string>> = {
  'pg-iam/sequelize': 'sequelize',
  'pg-iam/typeorm': 'typeorm',
  'pg-iam/knex': 'knex',
  'pg-iam/drizzle': 'drizzle-orm/node-postgres',
  'pg-iam/drizzle-postgres-js': 'drizzle-orm/postgres-js',
  'pg-iam/pg': 'pg',
  'pg-iam/postgres-js': 'postgres',
}

async function entriesOfPackage(): Promise<string[]> {
  const { name, exports } = JSON.parse(await readFile('package.json', 'utf8')) as {
    name: string
    exports: Record<string, unknown>
  }
  return Object.keys(exports)
    .filter((entry) => !entry.endsWith('.json'))
    .map((entry) => name + entry.slice(1))
}
