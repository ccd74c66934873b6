/** What the adapters have of migrations. The rest is loaded when it is needed. */
import type { LoginStreamOptions } from '../core/connection/login-stream.js'
import { PgIamError } from '../core/errors.js'
import { internalsOf, type Login } from '../core/login.js'
import { invalidOption } from '../core/options/check.js'
import type { MigrationRun, MigratorOptions } from './migrator.js'
import type { SessionMigrationsOptions } from './session.js'

/** In the options of an adapter. */
export interface DsqlMigrationsOption {
  /**
   * Runs the client's migrations on Aurora DSQL: DDL is rewritten as by `toDsqlStatements`, jobs are awaited, and a lease keeps other
   * deployers out. For migrations only: give it to an instance of their own. Default `false`.
   */
  dsqlMigrations?: boolean | undefined
}

/**
 * Returns what the streams of a client need for its migrations; `undefined` without the option.
 *
 * @param tool the client, in the names of its migrations in the ledger
 * @param tables its tables of applied migrations
 * @param more its tables of locks, and its queries of the catalog
 * @throws PgIamError `ERR_OPTION_INVALID`, or `ERR_OPTION_CONFLICT` for a login that is not for Aurora DSQL
 */
export function dsqlMigrationsOf(
  login: Login,
  option: unknown,
  tool: string,
  tables: readonly (string | undefined)[],
  more: Pick<SessionMigrationsOptions, 'locks' | 'catalog'> = {},
): LoginStreamOptions['through'] {
  if (option === undefined || option === false) return undefined
  if (option !== true) throw invalidOption('dsqlMigrations', 'true or false', option)
  if (login.provider !== 'aurora-dsql')
    throw new PgIamError(
      'ERR_OPTION_CONFLICT',
      `"dsqlMigrations" is for Aurora DSQL, and the login is for ${login.provider}`,
      { hint: 'Remove it: every other PostgreSQL runs migrations as they are.' },
    )
  const logger = internalsOf(login)?.logger
  const loading = async () => {
    const [session, { sqlParser }] = await Promise.all([
      import('./session.js'),
      import('./statements.js'),
    ])
    // Without the parser the connection fails, not a statement in the middle of a migration.
    await sqlParser()
    const names = tables.filter((name) => name !== undefined)
    return session.migrationsOfSessions({ tool, tables: names, ...more, ...(logger && { logger }) })
  }
  let run: ReturnType<typeof loading> | undefined
  return async (opened) => {
    run ??= loading()
    try {
      return (await run)(opened)
    } catch (error) {
      run = undefined
      throw error
    }
  }
}

/** Rejects an option with which the client would run its migrations in transactions. */
export function refuseTransactions(name: string, given: unknown, needed: unknown): void {
  if (given === undefined || given === needed) return
  throw new PgIamError(
    'ERR_OPTION_CONFLICT',
    `"${name}" must be ${JSON.stringify(needed)} with "dsqlMigrations", got ${JSON.stringify(given)}`,
    { hint: 'Aurora DSQL runs one statement of DDL in a transaction.' },
  )
}

/** Where the migrations are, and the options of `createMigrator`. */
export interface DrizzleMigrateOptions extends Omit<
  MigratorOptions,
  'pool' | 'connect' | 'migrations'
> {
  /** The folder of drizzle-kit, with `meta/_journal.json`. */
  migrationsFolder: string
}

/** Runs the migrations of a folder that have not run. */
export async function migrateFolder(
  { migrationsFolder, ...options }: DrizzleMigrateOptions,
  place: Pick<MigratorOptions, 'pool' | 'connect'>,
): Promise<MigrationRun[]> {
  const { createMigrator } = await import('./migrator.js')
  const { readMigrations } = await import('./folder.js')
  const migrations = await readMigrations(migrationsFolder)
  return createMigrator({ ...options, ...place, migrations }).up()
}
