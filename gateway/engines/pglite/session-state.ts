/** The state of a session (role, settings, prepared statements), saved while other sessions use PGlite's only backend. */
import { catalogQuery, literal, nameOf, raising, statementsOf } from '../../../core/sql.js'
import { HEADER_BYTES, cString, FrontendType, encodeMessage } from '../../../wire/messages.js'
import { ServerError } from '../../../wire/error-response.js'
import { type Backend, STARTUP_PACKET } from './backend.js'
import { ownReply, type OwnReply, simpleQuery, textAt } from './replies.js'
import type { Authority } from './roles.js'

export type Setting = readonly [name: string, value: string]

export interface SessionState {
  readonly role: string
  /** The settings of ALTER ROLE and the startup packet. After a RESET, they apply again from the session's next turn. */
  startup: readonly Setting[]
  /** The settings that the session has changed, as saved when another session got the backend. */
  settings: readonly Setting[]
  /** The complete PREPARE statements of the session. */
  prepared: readonly string[]
  /** Whether the backend may differ from the saved state. */
  isDirty: boolean
  /** Whether the session has reset settings to PGlite's defaults, which differ from those of its startup packet. */
  isReset: boolean
}

export function newState(role: string, startup: readonly Setting[]): SessionState {
  return { role, startup, settings: [], prepared: [], isDirty: false, isReset: false }
}

/** The backend and the session whose state it currently has. */
export interface Seat {
  /** Increases whenever the protocol's prepared statements are dropped, because another session gets the backend. */
  readonly generation: number
  /** The settings that PGlite has last reported by ParameterStatus. */
  readonly reported: ReadonlyMap<string, string>
  /** Records a ParameterStatus. */
  report(message: Buffer): Setting
  /** Records the names of custom settings in SQL, such as `app.tenant`, which PostgreSQL cannot list, and functions that change settings. */
  learn(sql: string, traits: Pick<SqlTraits, 'setsCustom' | 'makesSetter'>): void
  /** Saves the state of the current session and restores that of this one. Throws the first error as a `ServerError`. */
  enter(state: SessionState): Promise<void>
  /** Declares that the backend already has the state of this session. */
  occupy(state: SessionState): void
  /** Discards the state of a session that has ended. */
  forget(state: SessionState): void
  query(sql: string): Promise<OwnReply>
  /** Sends the startup packet to the backend, which then reports its settings. */
  start(): Promise<void>
}

export interface SeatSettings {
  readonly backend: Backend
  /** The SQL that makes a role the session user. */
  readonly become: Authority['become']
  /** The SQL that resets the backend to its initial state, sent as separate simple queries. */
  readonly clean: readonly string[]
  /** Settings that are not applied. */
  readonly ignored?: ReadonlySet<string>
}

/** Resets all session state. DISCARD ALL cannot run in a transaction block, so it is a separate query. */
export const CLEAN_ALL: readonly string[] = ['RESET ROLE', 'DISCARD ALL']

/**
 * Settings that are not applied to a PGlite that other code uses. Its thread runs timers, and with these timeouts PostgreSQL would end
 * the only backend.
 */
export const DEADLY_SHARED: ReadonlySet<string> = new Set([
  ...['idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout'],
])

/** Resets a PGlite that other code uses. It keeps the channels, temporary tables and locks of that code. */
export const CLEAN_SHARED: readonly string[] = ['RESET ROLE', 'RESET ALL', 'DEALLOCATE ALL']

export function createSeat({ backend, become, clean, ignored }: SeatSettings): Seat {
  const reported = new Map<string, string>()
  const customNames = new Set<string>()
  let current: SessionState | undefined
  /** The session user of the backend, if it is known. */
  let authorized: string | undefined
  let generation = 0
  let hasSetters = false

  const report = (status: Buffer): Setting => {
    const { text: name, end } = textAt(status, HEADER_BYTES)
    const { text: value } = textAt(status, end)
    reported.set(name, value)
    return [name, value]
  }
  const run = async (messages: readonly Buffer[]): Promise<OwnReply> => {
    const pieces: Buffer[] = []
    await backend.run(Buffer.concat(messages), (piece) => {
      pieces.push(piece)
      backend.taken(piece.length)
    })
    const bytes = Buffer.concat(pieces)
    for (let offset = 0; offset < bytes.length;) {
      const end = offset + 1 + bytes.readInt32BE(offset + 1)
      if (bytes[offset] === PARAMETER_STATUS) report(bytes.subarray(offset, end))
      offset = end
    }
    return ownReply(bytes)
  }
  const save = async (state: SessionState): Promise<void> => {
    const { rows, error } = await run([simpleQuery(savingSql(customNames))])
    if (error !== undefined) throw error
    const of = (kind: string): Setting[] =>
      rows
        .filter(([row]) => row === kind)
        .map(([, name, value]) => [name ?? '', Buffer.from(value ?? '', 'hex').toString()])
    state.settings = of('setting')
    // PostgreSQL stores the whole query that contained the PREPARE.
    state.prepared = of('prepared').flatMap(([name, sql]) =>
      statementsOf(sql).flatMap(({ tokens, text }) =>
        tokens[0] === 'PREPARE' && nameOf(tokens[1]) === name ? [text] : [],
      ),
    )
    state.isDirty = false
  }

  return {
    get generation() {
      return generation
    },
    reported,
    report,
    learn(sql, { setsCustom, makesSetter }) {
      hasSetters ||= makesSetter
      if (!setsCustom && !makesSetter) return
      for (const [name] of sql.matchAll(CUSTOM_NAME)) {
        if (customNames.size < MAX_CUSTOM_NAMES) customNames.add(name.toLowerCase())
      }
    },
    async enter(state) {
      if (current === state && !state.isReset) return
      const before = current
      if (before !== undefined && (before.isDirty || before.isReset || hasSetters))
        await save(before)
      current = undefined
      generation++
      const settings = [...new Map([...state.startup, ...state.settings])].filter(
        ([name]) => ignored?.has(name.toLowerCase()) !== true,
      )
      const { error } = await run([
        ...clean.map(simpleQuery),
        ...(authorized === state.role ? [] : [simpleQuery(become(state.role))]),
        ...(settings.length === 0 ? [] : [simpleQuery(settingSql(settings))]),
        ...state.prepared.map(simpleQuery),
      ])
      authorized = error === undefined ? state.role : undefined
      if (error !== undefined) throw error
      current = state
      state.isReset = false
    },
    occupy(state) {
      current = state
      authorized = state.role
    },
    forget(state) {
      if (current === state) current = undefined
    },
    query: (sql) => run([simpleQuery(sql)]),
    async start() {
      await run([STARTUP_PACKET])
      const { rows } = await run([simpleQuery(FUNCTIONS)])
      for (const [source] of rows) {
        const makesSetter = changesSettings(source ?? '')
        this.learn(source ?? '', { setsCustom: false, makesSetter })
      }
    },
  }
}

/** The sources of user-defined functions. */
const FUNCTIONS =
  'SELECT prosrc FROM pg_catalog.pg_proc WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid'
const PARAMETER_STATUS = 'S'.charCodeAt(0)
const CUSTOM_NAME = /[a-z_][\w$]*(?:\.[a-z_][\w$]*)+/gi
const MAX_CUSTOM_NAMES = 256

/** The values are encoded in hexadecimal, so that they do not depend on client_encoding. */
function savingSql(customNames: ReadonlySet<string>): string {
  const hex = (text: string): string =>
    `pg_catalog.encode(pg_catalog.convert_to(${text}, 'UTF8'), 'hex')`
  const custom = [...customNames].map(
    (name) =>
      `UNION ALL SELECT ${literal(name)}, pg_catalog.current_setting(${literal(name)}, true)`,
  )
  return `SELECT 'setting', name, ${hex('setting')} FROM (
      SELECT name, setting FROM pg_catalog.pg_show_all_settings() WHERE source OPERATOR(pg_catalog.=) 'session'
      ${custom.join(' ')}
      UNION ALL SELECT 'role', pg_catalog.current_setting('role')
    ) s WHERE setting IS NOT NULL;
    SELECT 'prepared', name, ${hex('statement')} FROM pg_catalog.pg_prepared_statement() WHERE from_sql`
}

function settingSql(settings: readonly Setting[]): string {
  const calls = settings.map(
    ([name, value]) => `pg_catalog.set_config(${literal(name)}, ${literal(value)}, false)`,
  )
  return `SELECT ${calls.join(', ')}`
}

/**
 * Selects whether the role can log in, and its settings from ALTER ROLE and ALTER DATABASE. PostgreSQL applies these settings to a new
 * backend, but here all sessions share an existing backend.
 */
export function loginSql(role: string): string {
  const name = literal(role)
  return catalogQuery(`SELECT rolcanlogin::text FROM pg_roles WHERE rolname = ${name};
    SELECT setting FROM pg_db_role_setting, unnest(setconfig) setting
      WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
        AND setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = ${name}))
      ORDER BY setrole <> 0, setdatabase <> 0`)
}

/**
 * Returns the settings of a startup packet in the order in which PostgreSQL applies them: first those of the command line in `options`,
 * then the others.
 *
 * Throws a FATAL `ServerError` for an invalid command line, and for replication.
 */
export function startupSettings(parameters: ReadonlyMap<string, string>): Setting[] {
  if (!NO_REPLICATION.has(parameters.get('replication') ?? '')) {
    throw new ServerError('0A000', 'replication is not supported by PGlite', {
      severity: 'FATAL',
      hint: 'Use the engine "postgres".',
    })
  }
  const named = [...parameters].filter(
    ([name]) => !NO_SETTINGS.has(name) && !name.startsWith('_pq_.'),
  )
  return [...commandLine(parameters.get('options') ?? ''), ...named]
}

const NO_SETTINGS: ReadonlySet<string> = new Set(['user', 'database', 'options', 'replication'])
const NO_REPLICATION: ReadonlySet<string> = new Set(['', 'false', 'off', 'no', '0'])

function commandLine(options: string): Setting[] {
  // Arguments are separated by white space, which a backslash escapes.
  const words = (options.match(/(?:\\.|[^\\\s])+/gsu) ?? []).map((word) =>
    word.replace(/\\(.)/gsu, '$1'),
  )
  const settings: Setting[] = []
  for (let index = 0; index < words.length; index++) {
    const word = words[index]!
    const assignment = word === '-c' ? words[++index] : /^(?:-c|--)(.+)$/s.exec(word)?.[1]
    const equals = assignment?.indexOf('=') ?? -1
    if (assignment === undefined || equals < 1) {
      throw new ServerError('42601', `invalid command-line argument for server process: ${word}`, {
        severity: 'FATAL',
        hint: 'Write settings as "-c name=value".',
      })
    }
    // On the command line, names may contain dashes in place of underscores.
    settings.push([assignment.slice(0, equals).replaceAll('-', '_'), assignment.slice(equals + 1)])
  }
  return settings
}

/** The effects of SQL on session state that matter because all sessions share one backend. */
export interface SqlTraits {
  /** SQL to run instead, which raises the error that explains why the given SQL is not supported. */
  readonly refusal?: string
  /** Whether it may change settings or statements of PREPARE. */
  readonly changesState: boolean
  /** Whether it may reset settings to PGlite's defaults. */
  readonly resets: boolean
  /** Whether it may set custom settings, whose names must be recorded. */
  readonly setsCustom: boolean
  /** Whether it creates a function that changes settings. After that, any SQL may change settings. */
  readonly makesSetter: boolean
  /** Whether it may create a temporary table, a cursor WITH HOLD or an advisory lock. */
  readonly mayHold: boolean
  /** Whether it waits for CopyData. */
  readonly copiesIn: boolean
  /** Whether it may contain a COPY that was not detected, so that a CopyFail must follow. */
  readonly namesCopy: boolean
  /** The name in a DEALLOCATE. */
  readonly deallocates?: string
  /** How it ends a transaction, if it does. */
  readonly endsTransaction?: 'commit' | 'rollback'
}

export const NO_SQL: SqlTraits = {
  changesState: false,
  resets: false,
  setsCustom: false,
  makesSetter: false,
  mayHold: false,
  copiesIn: false,
  namesCopy: false,
}

export const COPIES_IN: SqlTraits = { ...NO_SQL, copiesIn: true, namesCopy: true }

/** Dynamic SQL is not analysed: settings that it changes are lost when another session gets the backend. */
export function traitsOf(sql: string): SqlTraits {
  // The fast path of nearly all SQL.
  if (!OF_A_SESSION.test(sql)) return NO_SQL
  const statements = statementsOf(sql).map(({ tokens }) => tokens)
  const setsCustom = /set_config/i.test(sql)
  const refusal = statements.map(refusalOf).find((found) => found !== undefined)
  const deallocated = statements.find(([first]) => first === 'DEALLOCATE')
  const name = deallocated?.[deallocated[1] === 'PREPARE' ? 2 : 1]
  const end = endOf(statements[0] ?? [])
  return {
    ...(end === undefined ? {} : { endsTransaction: end }),
    ...(refusal === undefined ? {} : { refusal: raising(refusal) }),
    changesState: setsCustom || statements.some(([first]) => CHANGES_STATE.has(first ?? '')),
    resets: statements.some(resets),
    setsCustom: setsCustom || statements.some(([first]) => first === 'SET'),
    makesSetter: statements.some(([first]) => first === 'CREATE') && changesSettings(sql),
    mayHold: /temp|hold|advisory/i.test(sql),
    copiesIn: statements.some(copiesIn),
    namesCopy: /copy/i.test(sql),
    ...(name === undefined || name === 'ALL' ? {} : { deallocates: nameOf(name) }),
  }
}

const OF_A_SESSION =
  /temp|hold|advisory|listen|copy|set|prepare|deallocate|discard|\b(?:do|call|execute|commit|end|rollback|abort)\b/i
const CHANGES_STATE: ReadonlySet<string> = new Set([
  ...['SET', 'RESET', 'DISCARD', 'PREPARE', 'DEALLOCATE', 'DO', 'CALL', 'EXECUTE', 'ROLLBACK'],
])

function resets([first, ...rest]: readonly string[]): boolean {
  return first === 'RESET' || first === 'DISCARD' || (first === 'SET' && rest.includes('DEFAULT'))
}

/** Whether the source of a function appears to change settings. The SET of an UPDATE does not count. */
function changesSettings(source: string): boolean {
  return /set_config|\bset\s+(?:session\s+)?[\w.]+\s*(?:=|to\s)/i.test(
    source.replace(/\bupdate\s(?:[^;]*?\s)?set\s/gi, ' '),
  )
}

function endOf([first, ...rest]: readonly string[]): SqlTraits['endsTransaction'] {
  if (first === 'COMMIT' || first === 'END') return 'commit'
  // ROLLBACK TO SAVEPOINT does not end the transaction.
  return first === 'ABORT' || (first === 'ROLLBACK' && !rest.includes('TO'))
    ? 'rollback'
    : undefined
}

function copiesIn(tokens: readonly string[]): boolean {
  if (tokens[0] !== 'COPY') return false
  let depth = 0
  return tokens.some((token, index) => {
    if (token === '(') depth++
    if (token === ')') depth--
    const target = tokens[index + 1]
    return depth === 0 && token === 'FROM' && (target === 'STDIN' || target === 'STDOUT')
  })
}

function refusalOf(tokens: readonly string[]): ServerError | undefined {
  if (tokens[0] === 'LISTEN') {
    return new ServerError('0A000', 'LISTEN is not supported by PGlite', {
      detail:
        'All clients share one backend, so notifications cannot be delivered to a single client.',
      hint: 'Use the engine "postgres".',
    })
  }
  const [first, ...rest] = tokens.filter((token) => token !== 'SESSION' && token !== 'LOCAL')
  if (first !== 'SET' || rest[0] !== 'AUTHORIZATION' || rest[1] === 'DEFAULT') return undefined
  return new ServerError('42501', 'permission denied to set session authorization')
}

/** The protocol-level prepared statements of a session. They are prepared again after another session has used the backend. */
export interface PreparedStatements {
  /**
   * Returns the messages for the backend: the given message, preceded by the Parse messages of statements that the backend has lost.
   *
   * @param deallocated the statement that the SQL of a Query deallocates
   */
  toBackend(message: Buffer, deallocated?: string): Buffer[]
  /** The traits of the named statement's SQL. */
  traits(name: string): SqlTraits
  /** Handles a ParseComplete. Returns whether the client expects it. */
  parseComplete(): boolean
  closeComplete(): void
  /** Handles an ErrorResponse: PostgreSQL discards messages until the next Sync. */
  failed(): void
  ready(): void
  /** Removes the statement that SQL has deallocated, or all statements without a name. */
  drop(name?: string): void
  /** Called when the engine's own SQL has replaced the unnamed statement. */
  unnamedLost(): void
}

interface Statement {
  readonly parse: Buffer
  readonly traits: SqlTraits
  generation: number
}

/** A message without a reply yet. After an error, messages up to the next Query or Sync get no reply. */
type Pending =
  | { type: 'parse'; name: string; statement: Statement; isRepeat: boolean }
  | { type: 'close'; name: string | undefined }
  | { type: 'query' | 'sync' }

export function createPreparedStatements(seat: Pick<Seat, 'generation'>): PreparedStatements {
  const statements = new Map<string, Statement>()
  let pending: Pending[] = []

  /** The Parse message of a statement that the backend has lost. */
  const repeat = (name: string): Buffer[] => {
    const isPending = pending.some((item) => item.type === 'parse' && item.name === name)
    const statement = statements.get(name)
    if (isPending || statement === undefined || statement.generation === seat.generation) return []
    pending.push({ type: 'parse', name, statement, isRepeat: true })
    return [statement.parse]
  }
  /** Removes pending items up to the first one of this type, and returns that one. */
  const take = <T extends Pending['type']>(type: T): Extract<Pending, { type: T }> | undefined => {
    const index = pending.findIndex((item) => item.type === type)
    if (index === -1) return undefined
    const [item] = pending.splice(0, index + 1).slice(-1)
    return item as Extract<Pending, { type: T }>
  }

  return {
    toBackend(bytes, deallocated) {
      switch (bytes[0]) {
        case FrontendType.parse: {
          const { text: name, end } = textAt(bytes, HEADER_BYTES)
          const { text: sql, end: types } = textAt(bytes, end)
          const traits = traitsOf(sql)
          const { refusal } = traits
          const parse =
            refusal === undefined
              ? bytes
              : encodeMessage(
                  FrontendType.parse,
                  cString(name),
                  cString(refusal),
                  bytes.subarray(types),
                )
          // Restores a statement with the same name, so that PostgreSQL rejects the duplicate name.
          const before = name === '' ? [] : repeat(name)
          const statement = { parse, traits, generation: seat.generation }
          pending.push({ type: 'parse', name, statement, isRepeat: false })
          return [...before, parse]
        }
        case FrontendType.bind: {
          const { text } = textAt(bytes, textAt(bytes, HEADER_BYTES).end)
          return [...repeat(text), bytes]
        }
        case FrontendType.describe: {
          const isStatement = bytes[HEADER_BYTES] === OF_STATEMENT
          return [...(isStatement ? repeat(textAt(bytes, HEADER_BYTES + 1).text) : []), bytes]
        }
        case FrontendType.close: {
          const isStatement = bytes[HEADER_BYTES] === OF_STATEMENT
          const name = isStatement ? textAt(bytes, HEADER_BYTES + 1).text : undefined
          pending.push({ type: 'close', name })
          return [bytes]
        }
        case FrontendType.query: {
          const before = deallocated === undefined ? [] : repeat(deallocated)
          // As in PostgreSQL, a simple query drops the unnamed statement.
          statements.delete('')
          pending.push({ type: 'query' })
          return [...before, bytes]
        }
        case FrontendType.sync:
          pending.push({ type: 'sync' })
          return [bytes]
        default:
          return [bytes]
      }
    },
    traits(name) {
      const item = pending.findLast((one) => one.type === 'parse' && one.name === name)
      if (item?.type === 'parse') return item.statement.traits
      return statements.get(name)?.traits ?? NO_SQL
    },
    parseComplete() {
      const item = take('parse')
      if (item === undefined) return true
      item.statement.generation = seat.generation
      statements.set(item.name, item.statement)
      return !item.isRepeat
    },
    closeComplete() {
      const item = take('close')
      if (item?.name !== undefined) statements.delete(item.name)
    },
    failed() {
      if (pending[0]?.type === 'query') return
      const sync = pending.findIndex((item) => item.type === 'sync')
      pending = sync === -1 ? [] : pending.slice(sync)
    },
    ready() {
      const end = pending.findIndex((item) => item.type === 'query' || item.type === 'sync')
      pending = pending.slice(end + 1)
    },
    drop(name) {
      if (name === undefined) statements.clear()
      else statements.delete(name)
    },
    unnamedLost() {
      const unnamed = statements.get('')
      if (unnamed !== undefined) unnamed.generation = LOST
    },
  }
}

const OF_STATEMENT = 'S'.charCodeAt(0)
const LOST = -1
