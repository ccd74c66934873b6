/** Enforces the only isolation level of Aurora DSQL, REPEATABLE READ: it is the default and cannot be changed. */
import { ServerError } from '../../wire/error-response.js'
import { HEADER_BYTES, FrontendType, encodeMessage } from '../../wire/messages.js'
import { nameOf, raising, type Statement, statementsIn } from '../../core/sql.js'
import type { SessionRules } from '../connection/session-rewriter.js'
import { fatal } from './refusal.js'

/**
 * The texts are those of real clusters, observed in September 2026: `BEGIN ISOLATION LEVEL SERIALIZABLE` and `SET TRANSACTION ISOLATION
 * LEVEL SERIALIZABLE` fail with "Unsupported isolation level: SERIALIZABLE", and `SET TRANSACTION ISOLATION LEVEL REPEATABLE READ` fails
 * with "setting configuration parameter "TRANSACTION" not supported". AWS documents the settings as not settable, see
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/accessing.html
 */
export const REPEATABLE_READ_ONLY: SessionRules = {
  startup(parameters) {
    const requested = requestedSetting(parameters)
    if (requested !== undefined) return fatal('0A000', notSupported(requested))
    // PostgreSQL applies it after the settings in `options`, and RESET restores it.
    return new Map([...parameters, [DEFAULT_LEVEL, 'repeatable read']])
  },
  session: () => ({ toEngine: withRefusalsOf, toClient: (bytes) => ({ bytes, isCut: false }) }),
}

function withRefusalsOf(messages: Buffer): Buffer {
  /** The messages so far, once one of them differs from the input. */
  let changed: Buffer[] | undefined
  for (let start = 0, end = 0; start < messages.length; start = end) {
    end = start + 1 + messages.readInt32BE(start + 1)
    const type = messages[start]!
    const bytes = messages.subarray(start, end)
    const isSql = type === FrontendType.query || type === FrontendType.parse
    const passed = isSql ? withRefusals(type, bytes) : bytes
    if (passed !== bytes) changed ??= [messages.subarray(0, start)]
    changed?.push(passed)
  }
  return changed === undefined ? messages : Buffer.concat(changed)
}

const DEFAULT_LEVEL = 'default_transaction_isolation'
const SETTINGS: ReadonlySet<string> = new Set([DEFAULT_LEVEL, 'transaction_isolation'])

function notSupported(name: string): string {
  return `setting configuration parameter "${name}" not supported`
}

function requestedSetting(parameters: ReadonlyMap<string, string>): string | undefined {
  const named = [...parameters.keys()].find((name) => SETTINGS.has(name.toLowerCase()))
  const options = parameters.get('options')?.replace(/\\(.)/gs, '$1') ?? ''
  return (named ?? IN_OPTIONS.exec(options)?.[1])?.toLowerCase().replaceAll('-', '_')
}

/** `-c name=value` or `--name=value`. PostgreSQL accepts dashes in place of underscores. */
const IN_OPTIONS = /(?<!\S)(?:-c\s*|--)((?:default[-_])?transaction[-_]isolation)\s*=/i

/** @returns the Query or Parse message. Statements that request another isolation level are replaced by statements that fail. */
function withRefusals(type: number, bytes: Buffer): Buffer {
  const body = bytes.toString('latin1', HEADER_BYTES)
  // The fast path of nearly all SQL.
  if (!/isolation/i.test(body)) return bytes
  // latin1 preserves the bytes, whatever the encoding of the client is.
  const name = type === FrontendType.parse ? body.slice(0, body.indexOf('\0') + 1) : ''
  const end = body.indexOf('\0', name.length)
  const sql = body.slice(name.length, end)
  let rewritten = ''
  let done = 0
  for (const statement of statementsIn(sql, MAX_TOKENS)) {
    const refusal = refusalOf(statement)
    if (refusal === undefined) continue
    rewritten += sql.slice(done, statement.start) + raising(new ServerError('0A000', refusal))
    done = statement.end
  }
  if (done === 0) return bytes
  const text = Buffer.from(`${name}${rewritten}${sql.slice(done)}${body.slice(end)}`, 'latin1')
  return encodeMessage(type, text)
}

/** Enough for SET SESSION CHARACTERISTICS AS TRANSACTION with all transaction modes, some of them repeated. */
const MAX_TOKENS = 40

function refusalOf({ tokens, text }: Statement): string | undefined {
  const [first] = tokens
  const level = otherLevelIn(tokens)
  if (first === 'BEGIN' || first === 'START') return level && unsupported(level)
  if (first === 'SET') {
    const [what = '', next] = tokens.slice(1).filter((token) => !SCOPES.has(token))
    if (what === 'CHARACTERISTICS') return level && unsupported(level)
    if (what === 'TRANSACTION' && next !== '=' && next !== 'TO')
      return level === undefined ? notSupported('TRANSACTION') : unsupported(level)
    return SETTINGS.has(nameOf(what)) ? notSupported(nameOf(what)) : undefined
  }
  const called = SET_CONFIG.exec(text)?.[1]
  if (called !== undefined) return notSupported(called.toLowerCase())
  const isView = first === 'UPDATE' && tokens.some((token) => nameOf(token) === 'pg_settings')
  return isView ? notSupported(DEFAULT_LEVEL) : undefined
}

const SCOPES: ReadonlySet<string> = new Set(['SESSION', 'LOCAL'])
const SET_CONFIG = /set_config"?\s*\(\s*e?'((?:default_)?transaction_isolation)'/i

function unsupported(level: string): string {
  return `Unsupported isolation level: ${level}`
}

/** The first requested isolation level that PostgreSQL has and Aurora DSQL does not. */
function otherLevelIn(tokens: readonly string[]): string | undefined {
  const clauses = tokens.flatMap((token, index) =>
    token === 'ISOLATION' && tokens[index + 1] === 'LEVEL'
      ? [tokens.slice(index + 2, index + 4).join(' ')]
      : [],
  )
  return clauses.flatMap((clause) => OTHER_LEVELS.exec(clause)?.[0] ?? [])[0]
}

const OTHER_LEVELS = /^(?:READ COMMITTED|READ UNCOMMITTED|SERIALIZABLE)/
