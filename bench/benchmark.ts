/** The interface of benchmarks: effort, the build under test, and credentials for tests. */
import { existsSync } from 'node:fs'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type * as Drizzle from '../adapters/drizzle.js'
import type * as DrizzlePostgresJs from '../adapters/drizzle-postgres-js.js'
import type * as Knex from '../adapters/knex.js'
import type * as Kysely from '../adapters/kysely.js'
import type * as Pg from '../adapters/pg.js'
import type * as PostgresJs from '../adapters/postgres-js.js'
import type * as PostgresJsWebSocket from '../adapters/postgres-js-websocket.js'
import type * as Prisma from '../adapters/prisma.js'
import type * as Sequelize7 from '../adapters/sequelize-7.js'
import type * as Sequelize from '../adapters/sequelize.js'
import type * as TypeOrm from '../adapters/typeorm.js'
import type * as Core from '../core/index.js'
import type { StaticLogin, TlsPostgres } from './postgres.js'
import type { Contest, Effort } from './rounds.js'

export type Benchmark = (context: BenchContext) => Promise<void>

export interface BenchContext {
  /** Whether this is a quick run to check that the benchmark works. Its figures are not meaningful. */
  readonly isQuick: boolean
  /** The build of pg-iam to measure: `dist/`, as users install it. */
  readonly build: Build
  /** Another build to compare with, if given. There are then no other competitors. */
  readonly other: OtherBuild | undefined
  /** The PostgreSQL server of this run, which is started when a benchmark first uses it. */
  postgres(): Promise<TlsPostgres>
  /** Measures a contest, and adds a row for each competitor. */
  measure(contest: Contest, effort: Effort): Promise<void>
  /** Reports that a measurement is skipped, and why. */
  leaveOut(why: string): void
}

interface Entries {
  readonly core: typeof Core
  readonly sequelize: typeof Sequelize
  readonly 'sequelize-7': typeof Sequelize7
  readonly prisma: typeof Prisma
  readonly typeorm: typeof TypeOrm
  readonly knex: typeof Knex
  readonly kysely: typeof Kysely
  readonly drizzle: typeof Drizzle
  readonly 'drizzle-postgres-js': typeof DrizzlePostgresJs
  readonly pg: typeof Pg
  readonly 'postgres-js': typeof PostgresJs
  readonly 'postgres-js-websocket': typeof PostgresJsWebSocket
}

/** Loads an entry of the package. Later calls use the module cache. */
export type Build = <Name extends keyof Entries>(name: Name) => Promise<Entries[Name]>

/** @param dist the directory that `npm run build` creates */
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
 * Copies another checkout's `dist` into this repository, so that both builds resolve the same packages: the clients are identical, and
 * only pg-iam differs.
 *
 * @throws Error if the directory is not a build
 */
export async function copyBuild(dist: string): Promise<OtherBuild> {
  if (!existsSync(join(dist, 'esm', 'core', 'index.js')))
    throw new Error(`"--against" must be the dist folder of a build, got "${dist}"`)
  const folder = await mkdtemp(resolve('build', 'against-'))
  await cp(dist, folder, { recursive: true })
  // The modules in dist/esm are ESM because of the package.json of the package, which is in a parent directory.
  await writeFile(join(folder, 'package.json'), '{ "type": "module" }\n')
  return {
    name: `pg-iam of ${dist}`,
    build: buildIn(folder),
    close: () => rm(folder, { recursive: true }),
  }
}

/** Invented credentials that the benchmarks sign with. */
export const CREDENTIALS = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
} as const

/** Returns the credentials immediately. */
export const credentials = async (): Promise<typeof CREDENTIALS> => CREDENTIALS

export const REGION = 'us-east-1'
export const DSQL_HOST = `${'bench'.repeat(5)}x.dsql.${REGION}.on.aws`
export const RDS_HOST = `shop.abcdefghijkl.${REGION}.rds.amazonaws.com`

/** The options of a pg-iam login to the same address as a driver. */
export function ourOptions({ host, port, user, database, ssl }: StaticLogin) {
  return {
    host: ssl.servername,
    connectTo: { host, port },
    user,
    database,
    tls: { ca: ssl.ca },
    // If a thousand connections are opened at once, the last ones wait for CPU time.
    connectTimeoutMs: 600_000,
  }
}

/** Removes environment variables that would make a competitor use other credentials or another server. */
export function forgetCloud(environment: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(environment)) if (LEADS_AWAY.test(name)) delete environment[name]
}

/** Variables of libpq, except the one with the location of PostgreSQL's programs; of the cloud SDKs; and of Node. */
const LEADS_AWAY = /^(?:PG(?!_BINDIR$)|AWS_|AZURE_|GOOGLE_|NODE_)/

/** The options that select the signer, by name. A build without this option has one entry without a name. */
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
