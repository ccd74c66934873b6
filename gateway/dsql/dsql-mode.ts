/** DSQL mode: the SQL of Aurora DSQL for the sessions of an endpoint. */
import type { Logger } from '../../core/events.js'
import { ServerError } from '../../wire/error-response.js'
import type { SessionRules } from '../connection/session-rewriter.js'
import type { Engine } from '../engines/engine.js'
import { createDsqlSession, type SessionContext } from './session.js'
import {
  isAllowedSetting,
  isOwnSetting,
  settingRefused,
  settingsInOptions,
} from '../../dsql/settings.js'
import { loadSqlParser, type SqlParser } from '../../dsql/statement.js'
import { createSystemCatalog } from './system-catalog.js'

export interface DsqlModeOptions {
  /** Refuses what is not known about Aurora DSQL. Default `false`: it is logged once, and passed to the engine. */
  strict?: boolean
  /** How long a transaction may be open, in milliseconds, from 1 to 86,400,000. Default 300,000, as AWS documents. */
  transactionAgeMs?: number
}

export interface DsqlMode extends SessionContext {
  /** Loads the parser. Rejects with `ERR_PEER_MISSING` without `libpg-query`. */
  load(): Promise<unknown>
  /** Creates the schema `sys` in the engine's database. Never rejects: without it, jobs and `AWS IAM` are refused. */
  prepare(engine: Engine, database: string): Promise<void>
  readonly rules: SessionRules
  /** Whether an IAM principal was given or denied a role by `AWS IAM`. `undefined` if by neither. */
  isMapped(arn: string | undefined, role: string): boolean | undefined
  /** Whether any principal was given the role. */
  isRole(role: string): boolean
}

export function createDsqlMode(
  { strict = false, transactionAgeMs = 300_000 }: DsqlModeOptions,
  { clock, logger }: { clock: () => number; logger: Logger },
): DsqlMode {
  const mapped = new Map<string, { role: string; isGrant: boolean }>()
  const told = new Set<string>()
  let parser: SqlParser | undefined
  let hasSystemCatalog = false
  let isConcurrent = true
  let catalogVersion = 0
  const mode: DsqlMode = {
    load: async () => (parser ??= await loadSqlParser()),
    async prepare(engine, database) {
      isConcurrent = engine.name !== 'pglite'
      if (!isConcurrent)
        logger.info('gateway: transactions cannot conflict on PGlite, which runs one at a time')
      try {
        for (const mapping of await createSystemCatalog(engine, database))
          mode.mapRole({ ...mapping, isGrant: true })
        hasSystemCatalog = true
      } catch (error) {
        // On an existing server, the role "admin" may lack the right.
        const level = engine.name === 'upstream' ? 'info' : 'warn'
        logger[level]('gateway: could not create the schema "sys" of Aurora DSQL', { error })
      }
    },
    rules: {
      startup: (parameters) => startup(parameters, isConcurrent),
      session: () => createDsqlSession(mode),
    },
    get parser() {
      if (parser === undefined) throw new Error('the parser is not loaded')
      return parser
    },
    clock,
    get hasSystemCatalog() {
      return hasSystemCatalog
    },
    get isConcurrent() {
      return isConcurrent
    },
    transactionAgeMs,
    // https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
    maxMessageBytes: 10 * 1024 * 1024,
    get catalogVersion() {
      return catalogVersion
    },
    changeCatalog: () => void catalogVersion++,
    unknown(statement, verdict) {
      if (strict)
        return { ...verdict, refusal: new ServerError('0A000', `"strict": ${verdict.unknown}`) }
      const kind = `${statement.tag ?? statement.word}: ${verdict.unknown}`
      if (!told.has(kind) && told.size < MAX_TOLD) {
        told.add(kind)
        logger.info('gateway: it is not known whether Aurora DSQL accepts a statement', { kind })
      }
      return verdict
    },
    mapRole: ({ isGrant, role, arn }) => void mapped.set(`${role}\0${arn}`, { role, isGrant }),
    isMapped: (arn, role) => mapped.get(`${role}\0${arn}`)?.isGrant,
    isRole: (role) => [...mapped.values()].some((each) => each.isGrant && each.role === role),
  }
  return mode
}

const MAX_TOLD = 100

/** How long a statement waits for a lock before it has lost the conflict, in milliseconds. On Aurora DSQL no statement waits. */
const LOCK_TIMEOUT = '100'

/** https://docs.aws.amazon.com/aurora-dsql/latest/userguide/accessing.html */
function startup(
  given: ReadonlyMap<string, string>,
  isConcurrent: boolean,
): ReadonlyMap<string, string> | ServerError {
  const parameters = new Map(given)
  const options = parameters.get('options')?.trim() ?? ''
  parameters.delete('options')
  const inOptions = settingsInOptions(options)
  for (const name of [...parameters.keys(), ...inOptions.map((each) => each.name)])
    if (!isAllowedSetting(name))
      return new ServerError('0A000', settingRefused(name.toLowerCase()), { severity: 'FATAL' })
  const rest = inOptions.filter(({ name }) => !isOwnSetting(name)).map(({ text }) => text)
  if (rest.length > 0) parameters.set('options', rest.join(' '))
  for (const name of parameters.keys()) if (isOwnSetting(name)) parameters.delete(name)
  if (![...parameters.keys()].some((name) => name.toLowerCase() === 'timezone'))
    parameters.set('TimeZone', 'UTC')
  parameters.set('default_transaction_isolation', 'repeatable read')
  if (isConcurrent) parameters.set('lock_timeout', LOCK_TIMEOUT)
  return parameters
}
