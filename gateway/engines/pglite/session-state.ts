/** What belongs to a session, kept while another one has PGlite's only backend: role, settings, prepared statements. */
import { catalogQuery, literal, nameOf, raising, statementsOf } from '../../sql.js'
import { HEADER_BYTES, cString, FrontendType, encodeMessage } from '../../../wire/messages.js'
import { ServerError } from '../../../wire/error-response.js'
import { type Backend, STARTUP_PACKET } from './backend.js'
import { ownReply, type OwnReply, simpleQuery, textAt } from './replies.js'
import type { Authority } from './roles.js'

export type Setting = readonly [name: string, value: string]

export interface SessionState {
  readonly role: string
  /** What ALTER ROLE and the startup packet say, which a RESET goes back to at the session's next turn. */
  startup: readonly Setting[]
  /** What the session has set, as it was when another session got the backend. */
  settings: readonly Setting[]
  /** The statements of SQL's PREPARE, whole. */
  prepared: readonly string[]
  /** Whether the backend may differ from what is kept here. */
  isDirty: boolean
  /** Whether the session has taken settings back to PGlite's own, which are not those of its startup packet. */
  isReset: boolean
}

export function newState(role: string, startup: readonly Setting[]): SessionState {
  return { role, startup, settings: [], prepared: [], isDirty: false, isReset: false }
}

/** The backend, as far as one session after another has it. */
export interface Seat {
  /** Rises whenever the protocol's prepared statements were dropped for another session's sake. */
  readonly generation: number
  /** What PGlite has last reported by ParameterStatus. */
  readonly reported: ReadonlyMap<string, string>
  /** Takes note of a ParameterStatus. */
  report(message: Buffer): Setting
  /** Takes note of SQL that may name custom settings, such as `app.tenant`, which PostgreSQL cannot list, and of functions that set some. */
  learn(sql: string, traits: Pick<SqlTraits, 'setsCustom' | 'makesSetter'>): void
  /** Gives the backend to the session. Throws the `ServerError` of the first thing that is refused. */
  enter(state: SessionState): Promise<void>
  /** Says that the backend is as this session has left it. */
  occupy(state: SessionState): void
  /** Forgets the session, which does not come back. */
  forget(state: SessionState): void
  query(sql: string): Promise<OwnReply>
  /** Begins the protocol with the backend, which reports its settings from then on. */
  start(): Promise<void>
}

export interface SeatSettings {
  readonly backend: Backend
  /** The SQL that makes a role the session's user. */
  readonly become: Authority['become']
  /** What puts the backend back to its beginnings, as simple queries of their own. */
  readonly clean: readonly string[]
  /** Settings that sessions do not get. */
  readonly ignored?: ReadonlySet<string>
}

/** Everything that belongs to a session, in PostgreSQL's own words. As it cannot run in a transaction it has a message of its own. */
export const CLEAN_ALL: readonly string[] = ['RESET ROLE', 'DISCARD ALL']

/** For a PGlite that is used by other code, whose channels, temporary tables and locks stay. */
/**
 * Settings that are not applied there: in a thread whose event loop goes on, they would have PostgreSQL end the only backend that there is.
 */
export const DEADLY_SHARED: ReadonlySet<string> = new Set([
  ...['idle_session_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout'],
])

export const CLEAN_SHARED: readonly string[] = ['RESET ROLE', 'RESET ALL', 'DEALLOCATE ALL']

export function createSeat({ backend, become, clean, ignored }: SeatSettings): Seat {
  const reported = new Map<string, string>()
  const customNames = new Set<string>()
  let current: SessionState | undefined
  /** The session's user, as far as it is known. */
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
    // PostgreSQL keeps all of the query that the PREPARE was in.
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

/** The sources of functions that are not PostgreSQL's own. */
const FUNCTIONS =
  'SELECT prosrc FROM pg_catalog.pg_proc WHERE oid OPERATOR(pg_catalog.>=) 16384::pg_catalog.oid'
const PARAMETER_STATUS = 'S'.charCodeAt(0)
const CUSTOM_NAME = /[a-z_][\w$]*(?:\.[a-z_][\w$]*)+/gi
const MAX_CUSTOM_NAMES = 256

/** Texts come in hexadecimal digits, so that they are the same in every client_encoding. */
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
 * What a login finds: whether the role can log in, and what ALTER ROLE and ALTER DATABASE have set for it. PostgreSQL applies such
 * settings to a new backend; here sessions come and go on an old one.
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
 * Returns the settings of a startup packet in the order in which PostgreSQL applies them: first those of `options`, a command line,
 * then the others.
 *
 * Throws a FATAL `ServerError` for a command line that PostgreSQL would not take, and for replication.
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
  // Words end at white space, which a backslash makes part of them.
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
    // A command line may write a name with dashes.
    settings.push([assignment.slice(0, equals).replaceAll('-', '_'), assignment.slice(equals + 1)])
  }
  return settings
}

/** What SQL asks of a session, as far as one backend for all sessions matters to it. */
export interface SqlTraits {
  /** The SQL to run instead, which fails with the reason why the given one cannot run. */
  readonly refusal?: string
  /** Whether settings or statements of PREPARE may be others after it. */
  readonly changesState: boolean
  /** Whether it may take settings back to PGlite's own. */
  readonly resets: boolean
  /** Whether it may set custom settings, whose names have to be known. */
  readonly setsCustom: boolean
  /** Whether it makes a function that changes settings, so that from then on any SQL may. */
  readonly makesSetter: boolean
  /** Whether it may leave a temporary table, a cursor WITH HOLD or an advisory lock. */
  readonly mayHold: boolean
  /** Whether it waits for CopyData. */
  readonly copiesIn: boolean
  /** Whether it is to be followed by what ends a COPY that was not seen. */
  readonly namesCopy: boolean
  /** The name in a DEALLOCATE. */
  readonly deallocates?: string
  /** Whether it ends a transaction, and how. */
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

/** What dynamic SQL hides from this is not kept for the session, and is gone when another one gets the backend. */
export function traitsOf(sql: string): SqlTraits {
  // Nearly all SQL ends here.
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

/** Whether the source of a function changes settings, as far as one can see: the SET of an UPDATE does not. */
function changesSettings(source: string): boolean {
  return /set_config|\bset\s+(?:session\s+)?[\w.]+\s*(?:=|to\s)/i.test(
    source.replace(/\bupdate\s(?:[^;]*?\s)?set\s/gi, ' '),
  )
}

function endOf([first, ...rest]: readonly string[]): SqlTraits['endsTransaction'] {
  if (first === 'COMMIT' || first === 'END') return 'commit'
  // ROLLBACK TO SAVEPOINT does not.
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
      detail: 'All clients share one backend, so that a notification cannot find its client.',
      hint: 'Use the engine "postgres".',
    })
  }
  const [first, ...rest] = tokens.filter((token) => token !== 'SESSION' && token !== 'LOCAL')
  if (first !== 'SET' || rest[0] !== 'AUTHORIZATION' || rest[1] === 'DEFAULT') return undefined
  return new ServerError('42501', 'permission denied to set session authorization')
}

/** A session's prepared statements of the protocol, which are prepared again once another session has had the backend. */
export interface PreparedStatements {
  /**
   * Returns what the backend gets for a message: the message, with statements that it has lost in front of it.
   *
   * @param deallocated the statement that the SQL of a Query drops
   */
  toBackend(message: Buffer, deallocated?: string): Buffer[]
  /** What the SQL of the statement asks, by its name. */
  traits(name: string): SqlTraits
  /** A ParseComplete came. Returns whether the client expects it. */
  parseComplete(): boolean
  closeComplete(): void
  /** An ErrorResponse came: what follows it up to the next Sync is not done. */
  failed(): void
  ready(): void
  /** Forgets one that SQL has dropped, or all. */
  drop(name?: string): void
  /** SQL of the engine's own has taken the place of the unnamed statement. */
  unnamedLost(): void
}

interface Statement {
  readonly parse: Buffer
  readonly traits: SqlTraits
  generation: number
}

/** What has been sent and not been answered. A Query and a Sync end what an error leaves undone. */
type Pending =
  | { type: 'parse'; name: string; statement: Statement; isRepeat: boolean }
  | { type: 'close'; name: string | undefined }
  | { type: 'query' | 'sync' }

export function createPreparedStatements(seat: Pick<Seat, 'generation'>): PreparedStatements {
  const statements = new Map<string, Statement>()
  let pending: Pending[] = []

  /** The Parse message of a statement that the session has and the backend has not. */
  const repeat = (name: string): Buffer[] => {
    const isPending = pending.some((item) => item.type === 'parse' && item.name === name)
    const statement = statements.get(name)
    if (isPending || statement === undefined || statement.generation === seat.generation) return []
    pending.push({ type: 'parse', name, statement, isRepeat: true })
    return [statement.parse]
  }
  /** Takes what is pending up to the first item of the kind. */
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
          // A name that is taken is refused only where the backend has the statement.
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
