/** `pg-iam migrate`: runs a folder of SQL files, and says what has run. */
import { resolve as resolvePath } from 'node:path'
import type { Login } from '../core/login.js'
import { type QueryOutcome, sessionRunner } from '../gateway/engines/run-statements.js'
import { upstreamEngine } from '../gateway/index.js'
import {
  createMigrator,
  lintDsql,
  type Migration,
  type MigrationProgress,
  type MigrationRun,
  type MigrationStatus,
  type Migrator,
  type PooledConnection,
  readMigrations,
} from '../migrations/index.js'
import type { CommandContext } from './command-context.js'
import { ExitCode, usageError } from './failure.js'
import { resolveTarget } from './target.js'
import { table } from './output.js'

const ACTIONS = ['status', 'up', 'down', 'lint', 'resolve'] as const
type Action = (typeof ACTIONS)[number]

export async function runMigrate(context: CommandContext): Promise<number> {
  const { targets, flags, io } = context
  const [action, ...others] = targets
  if (!isAction(action))
    throw usageError(
      action === undefined ? 'an action must be given' : `"${action}" is no action of migrate`,
      `Give one of ${ACTIONS.join(', ')}.`,
    )
  const name = action === 'resolve' ? others.shift() : undefined
  if (others.length > 1) throw usageError('migrate works on one target')
  checkFlags(action, name, flags)
  const migrations = await migrationsIn(
    resolvePath(io.cwd, (flags['dir'] as string) ?? 'migrations'),
  )
  if (action === 'lint') return lint(context, migrations)
  const { login } = resolveTarget(others[0], {
    flags: context.targetFlags,
    configuration: context.configuration,
    env: io.env,
    logger: context.loginLogger,
  })
  const stop = new AbortController()
  const stopListening = io.onSignal('SIGINT', () => stop.abort())
  const engine = await upstreamEngine(login)
  try {
    const migrator = createMigrator({
      connect: () => openConnection(engine, login),
      migrations,
      signal: stop.signal,
      logger: context.printer.logger,
      onProgress: (progress) => report(context, progress),
      ...dialectOf(login),
      ...optionsOf(flags),
    })
    return await act(context, migrator, action, name)
  } catch (error) {
    if (!stop.signal.aborted) throw error
    context.printer.note('stopped; pg-iam migrate up goes on')
    return ExitCode.interrupted
  } finally {
    stopListening()
    await engine.close()
  }
}

function isAction(action: string | undefined): action is Action {
  return (ACTIONS as readonly (string | undefined)[]).includes(action)
}

/** What is certain by the provider. Others are asked: a custom host may be either, and so may a gateway. */
function dialectOf({ provider }: Login): object {
  return provider === 'aurora-dsql' || provider === 'custom' ? {} : { dialect: 'postgres' }
}

/** The flags that belong to one action. */
const OWN_FLAGS: Readonly<Record<string, readonly Action[]>> = {
  'dry-run': ['up', 'down'],
  to: ['up'],
  steps: ['down'],
  done: ['resolve'],
  'not-done': ['resolve'],
}

function checkFlags(
  action: Action,
  name: string | undefined,
  flags: CommandContext['flags'],
): void {
  for (const [flag, actions] of Object.entries(OWN_FLAGS))
    if (flags[flag] !== undefined && !actions.includes(action))
      throw usageError(`"--${flag}" does not belong to migrate ${action}`)
  if (action !== 'resolve') return
  if (name === undefined) throw usageError('resolve needs the name of a migration')
  if ((flags['done'] === true) === (flags['not-done'] === true))
    throw usageError('either "--done" or "--not-done" must be given')
}

async function migrationsIn(folder: string): Promise<Migration[]> {
  try {
    return await readMigrations(folder)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
    throw usageError(`could not read ${folder}: ${message}`, 'Give the folder with --dir.')
  }
}

function optionsOf(flags: CommandContext['flags']): object {
  const { table: name, schema, wait, lease } = flags
  return {
    ...(flags['dry-run'] === true && { dryRun: true }),
    ...(name !== undefined && { table: name }),
    ...(schema !== undefined && { schema }),
    ...(wait !== undefined && { waitMs: Math.round((wait as number) * 1_000) }),
    ...(lease !== undefined && { leaseMs: Math.round((lease as number) * 1_000) }),
  }
}

async function act(
  context: CommandContext,
  migrator: Migrator,
  action: Exclude<Action, 'lint'>,
  name: string | undefined,
): Promise<number> {
  const { printer, flags, isJson } = context
  switch (action) {
    case 'status': {
      const status = await migrator.status()
      printer.result(isJson ? JSON.stringify(status) : shownStatus(status))
      return ExitCode.ok
    }
    case 'resolve': {
      await migrator.resolve(name!, flags['done'] === true ? 'done' : 'not-done')
      printer.note(`recorded; pg-iam migrate up goes on with ${name}`)
      return ExitCode.ok
    }
    case 'up':
    case 'down': {
      const { to, steps } = flags as { to?: string; steps?: number }
      const runs =
        action === 'up'
          ? await migrator.up(to === undefined ? {} : { to })
          : await migrator.down(steps === undefined ? {} : { steps })
      if (isJson) printer.result(JSON.stringify(runs))
      else if (runs.length === 0) printer.note('nothing to do')
      else if (flags['dry-run'] === true) printer.result(runs.map(shownRun).join('\n\n'))
      return ExitCode.ok
    }
  }
}

function shownStatus(status: readonly MigrationStatus[]): string {
  if (status.length === 0) return 'no migrations'
  const fields = status.map(({ name, state, appliedAt, statementsDone, interrupted }) => {
    const at = appliedAt === undefined ? '' : ` at ${appliedAt.toISOString()}`
    const done = statementsDone === undefined ? '' : `, ${statementsDone} statements done`
    const open = interrupted === undefined ? '' : `, interrupted in: ${interrupted.split('\n')[0]}`
    return [name, `${state}${at}${done}${open}`]
  })
  return table(Object.fromEntries(fields) as Record<string, string>)
}

/** The statements as a file, with what was rewritten in comments. */
function shownRun({ name, statements }: MigrationRun): string {
  let last: unknown
  const lines = statements.flatMap(({ sql, source, rewritten }) => {
    const isNew = source.line !== last
    last = source.line
    return [
      ...(isNew && rewritten !== undefined ? [`-- line ${source.line}: ${rewritten}`] : []),
      `${sql};`,
    ]
  })
  return [`-- ${name}`, ...lines].join('\n')
}

function report({ printer }: CommandContext, progress: MigrationProgress): void {
  switch (progress.type) {
    case 'lease':
      printer.note(`waiting for another deployer: ${progress.holder}`)
      return
    case 'reconnect':
      printer.warn('the connection was lost; going on with a new one')
      return
    case 'migration': {
      const { name, direction, state } = progress
      if (state === 'done') printer.note(`${direction === 'up' ? 'applied' : 'undid'} ${name}`)
      return
    }
    case 'statement': {
      const { name, position, total, state, job, rows, statement } = progress
      const place = `${name}: statement ${position} of ${total}`
      if (state === 'waiting' && job !== undefined)
        printer.note(`${place}: job ${job.id} is ${job.status}: ${statement.sql}`)
      if (state === 'rows') printer.note(`${place}: rows changed: ${rows}`)
    }
  }
}

/** Lists what Aurora DSQL refuses. Fails if there is something that `up` cannot rewrite. */
async function lint(
  { printer, isJson }: CommandContext,
  migrations: readonly Migration[],
): Promise<number> {
  const files = migrations.flatMap(({ name, up, down }) => [
    { file: `${name}.sql`, sql: up },
    ...(down === undefined ? [] : [{ file: `${name}.down.sql`, sql: down }]),
  ])
  const found = []
  for (const { file, sql } of files)
    for (const problem of await lintDsql(sql)) found.push({ file, ...problem })
  if (isJson) printer.result(JSON.stringify(found))
  else
    for (const { file, line, column, rule, message, remedy, fixable } of found) {
      const what = fixable ? 'rewritten' : 'ERROR'
      printer.result(`${file}:${line}:${column}: ${what}: ${message} (${rule})\n    ${remedy}`)
    }
  if (found.length === 0) printer.note('Aurora DSQL accepts all statements')
  return found.every(({ fixable }) => fixable) ? ExitCode.ok : ExitCode.failed
}

/** A session of its own, without any package: the protocol is that of the proxy. */
async function openConnection(
  engine: Awaited<ReturnType<typeof upstreamEngine>>,
  { user = '', database }: Login,
): Promise<PooledConnection> {
  const session = await engine.openSession({
    role: user,
    database,
    parameters: new Map([['application_name', 'pg-iam migrate']]),
  })
  const runner = await sessionRunner(session)
  return {
    async query(sql) {
      const { rows, columns, error } = await runner.run(sql).catch((cause: unknown) => {
        throw lost(cause)
      })
      if (error !== undefined) throw asDriverError(error)
      return {
        rows: rows.map((row) =>
          Object.fromEntries(columns.map((column, index) => [column, row[index] ?? null])),
        ),
      }
    },
    release() {
      void runner.close()
    },
  }
}

function lost(cause: unknown): Error {
  return Object.assign(new Error('the connection was lost', { cause }), { code: 'ECONNRESET' })
}

/** With the properties of a driver's error, which are its own. */
function asDriverError(error: NonNullable<QueryOutcome['error']>): Error {
  const { message, sqlState, severity, hint, detail } = error
  return Object.assign(new Error(message), { code: sqlState, severity, hint, detail })
}
