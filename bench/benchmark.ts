/** What a benchmark gets: how much to measure, where pg-iam is, and credentials that belong to nobody. */
import { existsSync } from 'node:fs'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as Drizzle from '../adapters/drizzle.js'
import type * as DrizzlePostgresJs from '../adapters/drizzle-postgres-js.js'
import type * as Knex from '../adapters/knex.js'
import type * as Pg from '../adapters/pg.js'
import type * as PostgresJs from '../adapters/postgres-js.js'
import type * as Sequelize from '../adapters/sequelize.js'
import type * as TypeOrm from '../adapters/typeorm.js'
import type * as Core from '../core/index.js'
import type { StaticLogin, TlsPostgres } from './postgres.js'
import type { Contest, Effort } from './rounds.js'

export type Benchmark = (context: BenchContext) => Promise<void>

export interface BenchContext {
  /** Whether it is to show within seconds that it works; the figures mean little. */
  readonly isQuick: boolean
  /** The build of pg-iam that is measured: that of `dist/`, as users install it. */
  readonly build: Build
  /** Another build to compare with, where one was given; then nothing else is compared with. */
  readonly other: OtherBuild | undefined
  /** A PostgreSQL of this run, which is started when a benchmark first asks for it. */
  postgres(): Promise<TlsPostgres>
  /** Measures a contest, and adds a row for each competitor. */
  measure(contest: Contest, effort: Effort): Promise<void>
  /** Reports that something is left out, and why. */
  leaveOut(why: string): void
}

interface Entries {
  readonly core: typeof Core
  readonly sequelize: typeof Sequelize
  readonly typeorm: typeof TypeOrm
  readonly knex: typeof Knex
  readonly drizzle: typeof Drizzle
  readonly 'drizzle-postgres-js': typeof DrizzlePostgresJs
  readonly pg: typeof Pg
  readonly 'postgres-js': typeof PostgresJs
}

/** Loads an entry of the package; the second time it is there already. */
export type Build = <Name extends keyof Entries>(name: Name) => Promise<Entries[Name]>

/** @param dist the folder that `npm run build` makes */
export function buildIn(dist: string): Build {
  return async (name) => {
    const entry = name === 'core' ? 'core/index.js' : `adapters/${name}.js`
    return (await import(pathToFileURL(resolve(dist, 'esm', entry)).href)) as never
  }
}

export interface OtherBuild {
  readonly name: string
  readonly build: Build
  close(): Promise<void>
}

/**
 * Copies another checkout's `dist` below this repository, so that both builds find the same packages: the clients are the same, only
 * pg-iam differs.
 *
 * @throws Error for a folder that is no build
 */
export async function copyBuild(dist: string): Promise<OtherBuild> {
  if (!existsSync(join(dist, 'esm', 'core', 'index.js')))
    throw new Error(`"--against" must be the dist folder of a build, got "${dist}"`)
  const folder = await mkdtemp(resolve('build', 'against-'))
  await cp(dist, folder, { recursive: true })
  // The modules of dist/esm are ESM by the package.json of the package, which is above the folder.
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }\n')
  return {
    name: `pg-iam of ${dist}`,
    build: buildIn(folder),
    close: () => rm(folder, { recursive: true }),
  }
}

/** What the benchmarks sign with. It belongs to nobody. */
export const CREDENTIALS = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
} as const

/** Answers at once. */
export const credentials = async (): Promise<typeof CREDENTIALS> => CREDENTIALS

export const REGION = 'us-east-1'
export const DSQL_HOST = `${'bench'.repeat(5)}x.dsql.${REGION}.on.aws`
export const RDS_HOST = `shop.abcdefghijkl.${REGION}.rds.amazonaws.com`

/** What a login of pg-iam needs for the same place as a driver. */
export function ourOptions({ host, port, user, database, ssl }: StaticLogin) {
  return {
    host: ssl.servername,
    connectTo: { host, port },
    user,
    database,
    tls: { ca: ssl.ca },
    // Where a thousand are opened at once, the last ones wait for the processor.
    connectTimeoutMs: 600_000,
  }
}

/** Takes out of the environment what would lead a competitor to other credentials or another server. */
export function forgetCloud(environment: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(environment)) if (LEADS_AWAY.test(name)) delete environment[name]
}

/** Variables of libpq, but for the one that says where PostgreSQL's programs are; of the clouds' SDKs; and of Node itself. */
const LEADS_AWAY = /^(?:PG(?!_BINDIR$)|AWS_|AZURE_|GOOGLE_|NODE_)/

/** The options that choose who signs, by name; one without a name for a build that has no such choice. */
export async function signersOf(
  build: Build,
): Promise<readonly { name: string; options: { signer?: 'aws-sdk' | 'built-in' } }[]> {
  const { auroraDsql } = await build('core')
  const all = (['aws-sdk', 'built-in'] as const).map((signer) => ({
    name: `pg-iam, signer ${signer}`,
    options: { signer },
  }))
  try {
    for (const { options } of all) auroraDsql({ host: DSQL_HOST, user: 'app', ...options })
    return all
  } catch {
    return [{ name: 'pg-iam', options: {} }]
  }
}

export function average(startedAt: number, times: number): number {
  return (performance.now() - startedAt) / times
}
