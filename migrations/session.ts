/**
 * The migrations of ORMs on Aurora DSQL: a stream between a driver and the server, which runs the DDL of the driver as Aurora DSQL takes it.
 *
 * It is below the driver, so that it is the same for every client, whatever it does with its connections. A statement of DDL is replaced by
 * those of `toDsqlStatements`, each of them alone, with jobs awaited and conflicts retried. What else the driver sends passes unchanged.
 *
 * Once the client reads its table of applied migrations, it migrates: this process holds the lease, and DDL is in the ledger until the
 * client writes to that table. So a migration that broke half-way goes on where it stopped: the client starts it over, and what the ledger
 * has is not run again. A statement that changes rows commits together with its answer, which the client gets again if it starts over and
 * has been told the same as before.
 *
 * A transaction in which DDL arrives is ended there, because Aurora DSQL has none for it: what follows runs statement by statement, while
 * the client is told that it is in its transaction.
 */
import { createMutex, sleep } from '../core/async.js'
import { type ConnectionSocket, SocketLayer } from '../core/connection/socket-layer.js'
import { isPgIamError, PgIamError } from '../core/errors.js'
import { type Logger, SILENT } from '../core/events.js'
import { identifier, literal } from '../core/sql.js'
import { sqlStateOf } from '../core/transactions/is-occ-conflict.js'
import type { ParsedStatement } from '../dsql/statement.js'
import { stringsOf, unwrapped } from '../dsql/statement.js'
import { errorFields, errorResponse, ServerError } from '../wire/error-response.js'
import { createMessageReader, createReplyTracker, eachMessage } from '../wire/framing.js'
import { createFrontendReader, readFrontendMessage } from '../wire/frontend.js'
import {
  BackendType,
  cString,
  encodeMessage,
  FrontendType,
  HEADER_BYTES,
  readyForQuery,
  TransactionStatus,
} from '../wire/messages.js'
import {
  BEGUN,
  createExecutor,
  createProgramExecutor,
  inTransaction,
  type ProgramExecutor,
  type StatementProgress,
  write,
} from './executor.js'
import {
  abandonLease,
  acquireLease,
  createLedger,
  type Lease,
  type LedgerTables,
  locateLedger,
  type MigrationConnection,
  readRows,
  retrying,
} from './ledger.js'
import { type DsqlStatement, sqlParser, toDsqlStatements } from './statements.js'
import { Trail } from './trail.js'

export interface SessionMigrationsOptions {
  /** The client, in the names of its migrations in the ledger, such as `knex`. */
  readonly tool: string
  /** The names of the client's tables of applied migrations. */
  readonly tables: readonly string[]
  /** The names of its tables of locks, which the lease makes superfluous. */
  readonly locks?: readonly string[]
  /** A part of the client's queries of the catalog, and what the server gets instead: Aurora DSQL has other names there. */
  readonly catalog?: readonly [part: string, instead: string]
  readonly logger?: Logger | undefined
  /** How long a process that died keeps others waiting, in milliseconds. Default 60,000. */
  readonly leaseMs?: number
}

/** A connection that has logged in, and what the server has sent already. */
interface Opened {
  readonly socket: ConnectionSocket
  readonly received: Buffer
}

/** Returns what puts the stream into each connection of one pool. */
export function migrationsOfSessions(
  options: SessionMigrationsOptions,
): <T extends Opened>(opened: T) => T {
  const run = new MigrationRun(options)
  return (opened) => ({
    ...opened,
    socket: new MigrationStream(opened, run),
    received: NOTHING,
  })
}

// What the connections of a pool have in common.

interface TableName {
  readonly schema: string | undefined
  readonly name: string
}

class MigrationRun {
  readonly #options: SessionMigrationsOptions & { readonly logger: Logger }
  /** The connection that runs a statement: an executor lives longer than one. */
  #current: MigrationConnection | undefined
  readonly #connection: MigrationConnection = {
    query: (sql) => this.#current!.query(sql),
  }
  #ledger: LedgerTables | undefined
  #lease: Lease | undefined
  /** The table of applied migrations, once the client has read it. */
  #applied: TableName | undefined
  #executor: ProgramExecutor | undefined
  /** Whether the client has read its table of applied migrations after it had begun one: it may have started over. */
  #mayHaveStartedOver = false
  /** The name of the migration that runs, in the ledger. */
  #scopeName: string | undefined
  /** The statements of earlier runs of the migration that have changed rows, with their answers, by the trail up to them. */
  #answers: Map<string, Buffer> | undefined
  /** The last position in the ledger of a statement that has changed rows. */
  #lastAnswer = 0
  /** The connections take turns: the lease, the ledger and the executor are those of all. */
  readonly #turns = createMutex()
  readonly trail = new Trail()
  /** How many streams are open. */
  streams = 0

  /** An executor lives longer than a lease, which ends with the last connection. */
  readonly #currentLease: Lease

  constructor(options: SessionMigrationsOptions) {
    const current = (): Lease => this.#lease!
    this.#currentLease = {
      get holder() {
        return current().holder
      },
      get guard() {
        return current().guard
      },
      check: (connection) => current().check(connection),
      renew: (connection) => current().renew(connection),
      renewIfDue: (connection) => current().renewIfDue(connection),
      release: (connection) => current().release(connection),
    }
    this.#options = { ...options, logger: options.logger ?? SILENT }
  }

  /** Whether the client has begun to migrate. */
  get isMigrating(): boolean {
    return this.#applied !== undefined
  }

  /**
   * Whether DDL of a migration has run that is not noted as applied. Only then is a change of rows a part of a migration for certain: an
   * application may go on with the instance that has migrated, and write the same at each start.
   */
  get isHalfDone(): boolean {
    return this.#executor !== undefined && this.isMigrating
  }

  /** Whether a text may concern migrations: all others pass without being parsed. */
  mayConcern(sql: string): boolean {
    if (DDL.test(sql)) return true
    // The names of locks begin with those of the tables.
    if (this.#options.tables.some((name) => sql.includes(name))) return true
    return this.isMigrating && CHANGE.test(sql)
  }

  /** The message with the names that Aurora DSQL has in its catalog. */
  translated(message: Buffer): Buffer {
    const { catalog } = this.#options
    if (catalog === undefined || message[0] !== FrontendType.query || !message.includes(catalog[0]))
      return message
    const sql = (readFrontendMessage(message) as { sql: string }).sql.replaceAll(...catalog)
    return encodeMessage(FrontendType.query, cString(sql))
  }

  /** Whether the statement is about the client's own tables. */
  isOwn(statement: ParsedStatement): boolean {
    return this.appliedIn(statement) !== undefined || this.isLock(statement)
  }

  isLock(statement: ParsedStatement): boolean {
    return tableIn(statement, this.#options.locks ?? []) !== undefined
  }

  /** Resolves with the table of applied migrations, if the statement is about it. */
  appliedIn(statement: ParsedStatement): TableName | undefined {
    return tableIn(statement, this.#options.tables)
  }

  /** Before the client reads which migrations are applied: waits for other deployers. */
  begin(connection: MigrationConnection, table: TableName): Promise<void> {
    return this.#inTurn(connection, async () => {
      this.#applied = table
      await this.#holdAnew(connection)
      this.#mayHaveStartedOver = this.#executor !== undefined
      this.#executor = undefined
      this.#answers = undefined
      this.#scopeName = await this.#scope(connection)
      await this.#forget(connection, this.#scopeName)
    })
  }

  /** Before the client notes that a migration is applied, or undone. Rejects if it is not complete. */
  complete(connection: MigrationConnection, isUndone: boolean): Promise<void> {
    return this.#inTurn(connection, async () => {
      await this.#hold(connection)
      await (await this.#executorOfMigration(connection)).complete(isUndone)
    })
  }

  /** After the client has noted it. */
  noted(connection: MigrationConnection): Promise<void> {
    return this.#inTurn(connection, async () => {
      this.#executor = undefined
      this.#mayHaveStartedOver = false
      this.#answers = undefined
      this.#scopeName = undefined
      await this.#hold(connection)
      await this.#forget(connection, undefined)
    })
  }

  async #inTurn<T>(connection: MigrationConnection, work: () => Promise<T>): Promise<T> {
    const release = await this.#turns.acquire(new AbortController().signal)
    this.#current = connection
    try {
      return await work()
    } finally {
      release()
    }
  }

  /**
   * Runs a statement that changes rows, together with its answer in the ledger. If it has run before, and the client has been told the same
   * as then, resolves with that answer.
   */
  change(
    connection: MigrationConnection,
    sql: string,
    run: () => Promise<readonly Buffer[]>,
  ): Promise<readonly Buffer[]> {
    return this.#inTurn(connection, async () => {
      const lease = await this.#hold(connection)
      const tables = this.#ledger!
      this.#scopeName ??= await this.#scope(connection)
      const scope = `${this.#scopeName}${ROWS}`
      this.#answers ??= await this.#readAnswers(connection, scope)
      const hash = this.trail.digest()
      const recorded = this.#answers.get(hash)
      if (recorded !== undefined) {
        this.#answers.delete(hash)
        this.#options.logger.info(`migrations: ${PROGRESS.recorded}`, { statement: sql })
        return [recorded]
      }
      try {
        return await inTransaction({ connection, retry: {} }, async () => {
          const replies = await run()
          const answer = Buffer.concat(replies)
          if (answer.length > MAX_ANSWER) return replies
          const before = answer.toString('base64')
          const position = this.#lastAnswer + 1
          const row = { scope, position, hash, state: 'done', statement: sql, before } as const
          await write({ connection, retry: {}, tables, lease }, row)
          this.#lastAnswer = position
          return replies
        })
      } catch (error) {
        // It has changed as many rows as a transaction may: there is none left for the ledger.
        if (sqlStateOf(error) === TOO_MANY_ROWS) return run()
        throw error
      }
    })
  }

  async #readAnswers(connection: MigrationConnection, scope: string): Promise<Map<string, Buffer>> {
    const rows = await readRows(connection, this.#ledger!, `scope = ${literal(scope)}`)
    this.#lastAnswer = Math.max(0, ...rows.map(({ position }) => position))
    return new Map(rows.map(({ hash, before }) => [hash, Buffer.from(before ?? '', 'base64')]))
  }

  /** Runs what Aurora DSQL has in place of a statement of DDL. */
  run(connection: MigrationConnection, steps: readonly DsqlStatement[]): Promise<void> {
    return this.#inTurn(connection, async () => {
      const [first] = steps
      if (await this.#createsOwnTable(first!)) {
        await this.#createOwnTable(connection, first!)
        return
      }
      if (this.#applied === undefined) {
        const executor = await createExecutor({
          ...this.#executorOptions(),
          tables: undefined,
          lease: NO_LEASE,
          scope: 'a statement',
        })
        for (const step of steps) await executor.run(step)
        return
      }
      await this.#hold(connection)
      await (await this.#executorOfMigration(connection)).run(steps)
    })
  }

  async #createsOwnTable({ sql }: DsqlStatement): Promise<boolean> {
    const [parsed] = await parsedOf(sql)
    return parsed?.tag === 'CreateStmt' && this.appliedIn(parsed) !== undefined
  }

  /** Clients look whether it is there before they create it: another deployer may have created it in between. */
  async #createOwnTable(connection: MigrationConnection, { sql }: DsqlStatement): Promise<void> {
    await this.#hold(connection)
    try {
      await connection.query(sql)
    } catch (error) {
      if (sqlStateOf(error) !== DUPLICATE_TABLE) throw error
    }
  }

  /** When the last connection ends. */
  async end(connection: MigrationConnection): Promise<void> {
    const lease = this.#lease
    this.#lease = undefined
    await lease?.release(connection)
  }

  /** When the last connection is lost. */
  abandon(): void {
    if (this.#lease !== undefined) abandonLease(this.#lease)
    this.#lease = undefined
  }

  /** A transaction of the client was ended, because DDL arrived in it. */
  left(sql: string): void {
    this.#options.logger.warn('migrations: a transaction with DDL runs without a transaction', {
      statement: sql,
    })
  }

  rewritten(statement: DsqlStatement): void {
    const { source, sql, rewritten } = statement
    this.#options.logger.info('migrations: a statement was rewritten', {
      before: source.text,
      after: sql,
      why: rewritten,
    })
  }

  async #hold(connection: MigrationConnection): Promise<Lease> {
    if (this.#lease === undefined) return this.#acquire(connection)
    try {
      await this.#lease.renewIfDue(connection)
      return this.#lease
    } catch (error) {
      if (isPgIamError(error, 'ERR_MIGRATION_LEASE')) this.#lease = undefined
      throw error
    }
  }

  /** As `#hold`, where it does no harm if another deployer has held the lease in between. */
  async #holdAnew(connection: MigrationConnection): Promise<void> {
    try {
      await this.#hold(connection)
      await this.#lease!.renew(connection)
    } catch (error) {
      if (!isPgIamError(error, 'ERR_MIGRATION_LEASE')) throw error
      this.#lease = undefined
      await this.#acquire(connection)
    }
  }

  async #acquire(connection: MigrationConnection): Promise<Lease> {
    this.#executor?.reload()
    this.#ledger ??= await locateLedger(connection, { dialect: 'aurora-dsql' })
    await createLedger(connection, this.#ledger)
    this.#lease = await acquireLease(connection, this.#ledger, {
      leaseMs: this.#options.leaseMs ?? 60_000,
      waitMs: 600_000,
      clock: Date.now,
      sleep,
      signal: undefined,
      waiting: (holder) =>
        this.#options.logger.info('migrations: waiting for another deployer', { holder }),
    })
    return this.#lease
  }

  /** A name for the next migration: that so many are applied. The client's own name of it is not known here. */
  async #scope(connection: MigrationConnection): Promise<string> {
    const { schema, name } = this.#applied!
    const table = [...(schema === undefined ? [] : [schema]), name].map(identifier).join('.')
    const { rows } = await connection.query(`SELECT count(*)::text AS applied FROM ${table}`)
    return `${this.#options.tool}: after ${String(rows[0]?.['applied'])} of ${table}`
  }

  /** Removes what the ledger has of other migrations of the client, which are complete. */
  async #forget(connection: MigrationConnection, kept: string | undefined): Promise<void> {
    const others =
      kept === undefined
        ? ''
        : ` AND scope NOT IN (${[kept, kept + ROWS, kept + BEGUN].map(literal).join(', ')})`
    const own = literal(`${this.#options.tool}: %`)
    await connection.query(`DELETE FROM ${this.#ledger!.rows} WHERE scope LIKE ${own}${others}`)
  }

  async #executorOfMigration(connection: MigrationConnection): Promise<ProgramExecutor> {
    if (this.#executor !== undefined) return this.#executor
    this.#scopeName ??= await this.#scope(connection)
    return (this.#executor = createProgramExecutor({
      ...this.#executorOptions(),
      tables: this.#ledger!,
      lease: this.#currentLease,
      scope: this.#scopeName,
      mayOmit: () => this.trail.hasRead || this.#mayHaveStartedOver,
      isConcurrent: () => this.streams > 1,
    }))
  }

  #executorOptions() {
    return {
      connection: this.#connection,
      retry: {},
      sleep,
      signal: undefined,
      progress: (event: StatementProgress) => this.#progress(event),
    }
  }

  #progress({ state, statement, job, rows }: StatementProgress): void {
    if (state === 'started' || state === 'done') return
    this.#options.logger.info(`migrations: ${PROGRESS[state]}`, {
      statement: statement.sql,
      ...(job !== undefined && { job }),
      ...(rows !== undefined && { rows }),
    })
  }
}

const PROGRESS = {
  recorded: 'a statement has run before',
  waiting: 'a job is running',
  rows: 'rows were changed',
} as const

/** Outside of a migration nothing is recorded. */
const NO_LEASE: Lease = {
  holder: '',
  guard: '',
  check: async () => {},
  renew: async () => {},
  renewIfDue: async () => {},
  release: async () => {},
}

/** The end of the name under which the ledger has the changes of rows of a migration. */
const ROWS = ': rows'
/** A row of Aurora DSQL has at most 2 MiB, and a text 1 MiB. In bytes, before base64. */
const MAX_ANSWER = 500_000
const DUPLICATE_TABLE = '42P07'
const TOO_MANY_ROWS = '54000'
const DDL = /\b(?:create|alter|drop|truncate|comment|grant|revoke)\b/i
const CHANGE = /\b(?:insert|update|delete|merge)\b/i

/** The table that a statement is about, if it is one of these. */
function tableIn({ tag, node }: ParsedStatement, names: readonly string[]): TableName | undefined {
  const relations =
    tag === 'SelectStmt'
      ? ((node['fromClause'] as unknown[] | undefined) ?? []).map((one) =>
          unwrapped(one, 'RangeVar'),
        )
      : [node['relation'] as Record<string, unknown> | undefined]
  for (const relation of relations) {
    const name = relation?.['relname']
    if (typeof name !== 'string' || !names.includes(name)) continue
    const schema = relation!['schemaname']
    return { name, schema: typeof schema === 'string' ? schema : undefined }
  }
  return undefined
}

// One connection.

/** A request of this module: the replies to it are not the driver's. */
interface Request {
  readonly messages: Buffer[]
  readonly settle: (messages: readonly Buffer[]) => void
  readonly fail: (error: Error) => void
}

class MigrationStream extends SocketLayer {
  readonly #socket: ConnectionSocket
  readonly #run: MigrationRun
  readonly #fromDriver = createFrontendReader()
  readonly #tracker = createReplyTracker((type) => this.#answered(type))
  readonly #ownReader = createMessageReader(MAX_OWN_BYTES)
  /** How many ReadyForQuery the server has sent or will send, including that of its login. */
  #requests = 1
  #request: Request | undefined
  #idle: (() => void) | undefined
  #failure: Error | undefined
  /** Prepared statements and portals that the server does not know, with their SQL. */
  readonly #statements = new Map<string, string>()
  readonly #portals = new Map<string, string>()
  /** Whether one of the messages since the last Sync was answered here. */
  #isLocal = false
  /** Whether a statement failed here, so that messages up to Sync are ignored. */
  #hasFailed = false
  /** What is to do when the server has answered the messages up to the next Sync. */
  #afterSync: (() => Promise<void>) | undefined
  /** The messages of a statement that changes rows, up to its Sync, and its SQL. */
  #collected: { readonly sql: string; readonly messages: Buffer[] } | undefined
  /** Whether the driver's transaction may have changed rows outside the driver's own tables. */
  #hasChanged = false
  /** The functions that the transaction has called: those of the database may change rows. */
  readonly #called = new Set<string>()
  /** The transaction of which only the driver knows. */
  #detached: { hasFailed: boolean; hasRun: boolean } | undefined
  readonly #detachedReader = createMessageReader(MAX_OWN_BYTES)
  #errors = 0
  #hasLeft = false

  constructor({ socket, received }: Opened, run: MigrationRun) {
    super(socket, { allowHalfOpen: true })
    this.#socket = socket
    this.#run = run
    run.streams++
    socket
      .on('data', (chunk: Buffer) => this.#receive(chunk))
      .on('end', () => this.#ended(closed()))
      .on('error', (error) => {
        this.#ended(error)
        this.destroy(error)
      })
      .on('close', () => {
        this.#ended(closed())
        this.destroy()
      })
    if (received.length > 0) this.#receive(received)
  }

  override _read(): void {
    this.#socket.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.#send(chunk).then(
      () => done(),
      (error: unknown) => done(error as Error),
    )
  }

  override _final(done: (error?: Error) => void): void {
    this.#leave()
      .catch(() => {})
      .finally(() => {
        this.#socket.end()
        done()
      })
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy()
    this.#ended(error ?? closed())
    void this.#leave()
    done(error)
  }

  /** The lease is released with the last connection, before its Terminate. */
  async #leave(): Promise<void> {
    if (this.#hasLeft) return
    this.#hasLeft = true
    if (--this.#run.streams > 0) return
    if (this.#failure === undefined && this.#isIdle) await this.#run.end(this.#connection)
    else this.#run.abandon()
  }

  #ended(error: Error): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#request?.fail(error)
    this.#idle?.()
    if (!this.destroyed) this.push(null)
  }

  // From the server.

  #receive(chunk: Buffer): void {
    if (this.#request === undefined) this.#deliver(chunk)
    else {
      this.#tracker.push(chunk)
      this.#takeOwn(this.#request, chunk)
    }
    if (this.#isIdle) this.#idle?.()
  }

  /** A message of the server's begins. */
  #answered(type: number): void {
    // Not what is asked here, nor what the server says of itself when a connection is opened.
    if (this.#request !== undefined || this.#tracker.readyCount === 0) return
    if (type === BackendType.rowDescription) this.#run.trail.rows()
    if (type !== BackendType.errorResponse) return
    this.#errors++
    if (this.#detached !== undefined) this.#detached.hasFailed = true
  }

  #deliver(bytes: Buffer): void {
    const hasLoggedIn = this.#tracker.readyCount > 0
    this.#tracker.push(bytes)
    const shown = this.#detached === undefined ? bytes : this.#inTransaction(bytes)
    if (hasLoggedIn) this.#run.trail.received(shown)
    if (!this.push(shown)) this.#socket.pause()
  }

  /** The same replies, with the state of the transaction of which only the driver knows. */
  #inTransaction(bytes: Buffer): Buffer {
    const messages = this.#detachedReader.push(bytes)
    return Buffer.concat(
      messages.map((message) =>
        message.type === BackendType.readyForQuery ? this.#ready() : message.bytes,
      ),
    )
  }

  #ready(): Buffer {
    if (this.#detached === undefined) return readyForQuery(statusText(this.#status))
    return readyForQuery(this.#detached.hasFailed ? 'E' : 'T')
  }

  #takeOwn(request: Request, chunk: Buffer): void {
    for (const { type, bytes } of this.#ownReader.push(chunk)) {
      // These are for the driver at any time.
      if (ASYNCHRONOUS.has(type)) this.push(bytes)
      else if (type === BackendType.readyForQuery) {
        this.#request = undefined
        request.settle(request.messages)
      } else request.messages.push(bytes)
    }
  }

  get #isIdle(): boolean {
    return this.#tracker.atBoundary && this.#tracker.readyCount >= this.#requests
  }

  get #status(): number {
    return this.#tracker.transactionStatus
  }

  /** Whether the driver is in a transaction. What it has sent last may have begun one. */
  get #isInTransaction(): boolean {
    return this.#detached !== undefined || !this.#isIdle || this.#status !== TransactionStatus.idle
  }

  /** Resolves when the server owes nothing. Rejects if the connection is lost before. */
  async #whenIdle(): Promise<void> {
    if (!this.#isIdle && this.#failure === undefined)
      await new Promise<void>((resolve) => (this.#idle = resolve))
    this.#idle = undefined
    if (this.#failure !== undefined) throw this.#failure
  }

  // Requests of this module.

  /** Sends a text to the idle server. Resolves with the replies, without ReadyForQuery. */
  #ask(sql: string): Promise<readonly Buffer[]> {
    return this.#askBytes(encodeMessage(FrontendType.query, cString(sql)))
  }

  /** The same for messages that end with a Query or Sync. */
  async #askBytes(bytes: Buffer): Promise<readonly Buffer[]> {
    await this.#whenIdle()
    return new Promise((settle, fail) => {
      this.#requests++
      this.#request = { messages: [], settle, fail }
      this.#socket.write(bytes)
    })
  }

  readonly #connection: MigrationConnection = retrying(
    {
      query: async (sql) => {
        const replies = await this.#ask(sql)
        const failed = replies.find((reply) => reply[0] === BackendType.errorResponse)
        if (failed !== undefined) throw serverError(failed)
        return { rows: rowsIn(replies) }
      },
    },
    {},
  )

  // From the driver.

  async #send(chunk: Buffer): Promise<void> {
    const messages = this.#fromDriver.push(chunk) ?? NOTHING
    let passed: Buffer[] = []
    const flush = async (): Promise<void> => {
      const bytes = Buffer.concat(passed)
      passed = []
      if (bytes.length > 0 && !this.#socket.write(bytes) && this.#failure === undefined)
        await new Promise<void>((resolve) => {
          this.#socket.once('drain', resolve).once('close', resolve)
        })
    }
    const all: Buffer[] = []
    eachMessage(messages, (message) => void all.push(message))
    for (const given of all) {
      const message = this.#run.translated(given)
      if (this.#run.isMigrating) this.#run.trail.sent(message, BEGINNINGS.has(message[0]!))
      const answer = this.#isPassed(message)
      if (answer) {
        if (message[0] === FrontendType.query || message[0] === FrontendType.sync) this.#requests++
        passed.push(message)
        if (message[0] !== FrontendType.sync || this.#afterSync === undefined) continue
        await flush()
        await this.#settleAfterSync()
        continue
      }
      await flush()
      await this.#answer(message)
    }
    await flush()
    if (this.#fromDriver.terminated) {
      await this.#leave().catch(() => {})
      this.#socket.write(TERMINATE)
    }
  }

  async #settleAfterSync(): Promise<void> {
    const act = this.#afterSync!
    this.#afterSync = undefined
    const before = this.#errors
    await this.#whenIdle()
    if (this.#errors === before) await act()
  }

  /** Whether the server gets the message as it is. */
  #isPassed(message: Buffer): boolean {
    if (this.#collected !== undefined) return false
    // In a transaction each statement decides what becomes of it when DDL arrives.
    const isWatched = this.#run.isMigrating && this.#isInTransaction
    switch (message[0]) {
      case FrontendType.query:
        return !isWatched && !this.#run.mayConcern(message.toString('utf8', HEADER_BYTES))
      case FrontendType.parse: {
        const { statement, sql } = readFrontendMessage(message) as {
          statement: string
          sql: string
        }
        if (this.#hasFailed || isWatched || this.#run.mayConcern(sql)) return false
        this.#statements.delete(statement)
        return true
      }
      case FrontendType.bind:
        if (isWatched) this.#noteBind(message)
        return !this.#hasFailed && this.#localSql(message) === undefined
      case FrontendType.describe:
      case FrontendType.close:
      case FrontendType.execute:
        return !this.#hasFailed && this.#localSql(message) === undefined
      case FrontendType.flush:
      case FrontendType.sync:
        return !this.#isLocal
      default:
        return true
    }
  }

  /** What a statement with a name does was decided before the transaction. */
  #noteBind(message: Buffer): void {
    const read = readFrontendMessage(message)
    if (read.type === 'bind' && read.statement !== '' && !this.#statements.has(read.statement))
      this.#hasChanged = true
  }

  /** The SQL of the statement or portal that the message names, if the server does not know it. */
  #localSql(message: Buffer): string | undefined {
    const read = readFrontendMessage(message)
    if (read.type === 'bind') {
      const sql = this.#statements.get(read.statement)
      if (sql === undefined) this.#portals.delete(read.portal)
      return sql
    }
    if (read.type === 'execute') return this.#portals.get(read.portal)
    if (read.type === 'describe' || read.type === 'close')
      return (read.of === 'statement' ? this.#statements : this.#portals).get(read.name)
    return undefined
  }

  async #answer(message: Buffer): Promise<void> {
    if (this.#collected !== undefined) {
      await this.#collect(message, this.#collected)
      return
    }
    const read = readFrontendMessage(message)
    if (read.type === 'query') {
      await this.#query(message, read.sql)
      return
    }
    if (read.type === 'sync') {
      this.#isLocal = false
      this.#hasFailed = false
      this.#emit(this.#ready())
      return
    }
    if (this.#hasFailed || read.type === 'flush') return
    if (read.type === 'parse') {
      await this.#parse(message, read)
      return
    }
    this.#isLocal = true
    if (read.type === 'bind') {
      this.#portals.set(read.portal, this.#statements.get(read.statement)!)
      this.#emit(encodeMessage(BackendType.bindComplete))
    } else if (read.type === 'describe') {
      const none = encodeMessage(BackendType.noData)
      this.#emit(read.of === 'statement' ? Buffer.concat([NO_PARAMETERS, none]) : none)
    } else if (read.type === 'close') {
      ;(read.of === 'statement' ? this.#statements : this.#portals).delete(read.name)
      this.#emit(encodeMessage(BackendType.closeComplete))
    } else if (read.type === 'execute') {
      try {
        this.#emit(...(await this.#runAll(this.#portals.get(read.portal)!)))
      } catch (error) {
        this.#hasFailed = true
        this.#emit(this.#failed(error))
      }
    }
  }

  async #parse(
    message: Buffer,
    { statement, sql }: { statement: string; sql: string },
  ): Promise<void> {
    this.#statements.delete(statement)
    const parsed = await parsedOf(sql)
    const [first] = parsed
    if (this.#run.isMigrating) await this.#whenIdle()
    const refusal = this.#refusal(parsed)
    if (refusal !== undefined) {
      this.#isLocal = true
      this.#hasFailed = true
      this.#emit(this.#failed(refusal))
      return
    }
    if (parsed.length === 1 && isDdl(first!)) {
      await this.#whenIdle()
      this.#isLocal = true
      this.#statements.set(statement, sql)
      this.#emit(encodeMessage(BackendType.parseComplete))
      return
    }
    const table = first === undefined ? undefined : this.#run.appliedIn(first)
    if (table !== undefined && this.#mayBegin) {
      {
        await this.#whenIdle()
        try {
          await this.#look(first!, table)
        } catch (error) {
          this.#isLocal = true
          this.#hasFailed = true
          this.#emit(this.#failed(error))
          return
        }
      }
      if (first!.tag !== 'SelectStmt') this.#afterSync = () => this.#run.noted(this.#connection)
    }
    // The server has to know a statement with a name, also if it has run before.
    if (statement === '' && this.#isChange(parsed)) {
      this.#collected = { sql, messages: [message] }
      return
    }
    this.#socket.write(message)
  }

  /** Before a statement about the applied migrations. */
  async #look(statement: ParsedStatement, table: TableName): Promise<void> {
    if (statement.tag === 'SelectStmt') await this.#run.begin(this.#connection, table)
    else if (this.#run.isMigrating)
      await this.#run.complete(this.#connection, statement.tag === 'DeleteStmt')
  }

  /** A look at the applied migrations in a transaction, in which no lease can be taken for certain, begins nothing. */
  get #mayBegin(): boolean {
    if (this.#status === TransactionStatus.failed) return false
    return this.#run.isMigrating || !this.#isInTransaction
  }

  async #collect(
    message: Buffer,
    { sql, messages }: { readonly sql: string; readonly messages: Buffer[] },
  ): Promise<void> {
    messages.push(message)
    const [type] = message
    if (type !== FrontendType.sync && type !== FrontendType.flush) return
    this.#collected = undefined
    const bytes = Buffer.concat(messages)
    // Who sends Flush waits for the answer before Sync.
    if (type === FrontendType.flush) this.#socket.write(bytes)
    else {
      await this.#change(sql, bytes)
      this.#emit(this.#ready())
    }
  }

  /** Runs a statement that changes rows, and tells the driver its answer. */
  async #change(sql: string, bytes: Buffer): Promise<void> {
    try {
      const replies = await this.#run.change(this.#connection, sql, async () => {
        const all = await this.#askBytes(bytes)
        const failed = all.find((reply) => reply[0] === BackendType.errorResponse)
        if (failed !== undefined) throw Object.assign(serverError(failed), { replies: all })
        return all
      })
      this.#emit(...replies)
    } catch (error) {
      const { replies } = error as { replies?: readonly Buffer[] }
      if (replies === undefined || this.#failure !== undefined) this.#emit(this.#failed(error))
      else this.#emit(...replies)
    }
  }

  /** Whether the statements change rows in a migration that has begun with DDL, outside of a transaction. */
  #isChange(parsed: readonly ParsedStatement[]): boolean {
    return (
      this.#run.isHalfDone &&
      !this.#isInTransaction &&
      parsed.length > 0 &&
      // What else a text does, such as SET, has to be done again.
      parsed.every((each) => changesRows(each) && !this.#run.isOwn(each))
    )
  }

  // Transactions with DDL.

  /** Notes what a transaction does. Returns why a statement must not run in one of which only the driver knows. */
  #refusal(parsed: readonly ParsedStatement[]): Error | undefined {
    if (parsed.some((each) => this.#run.isOwn(each))) this.#run.trail.end()
    const isOutside = !this.#run.isMigrating || !this.#isInTransaction
    if (isOutside || parsed.some(endsTransaction)) {
      this.#hasChanged = false
      this.#called.clear()
    }
    if (isOutside) return undefined
    for (const name of parsed.flatMap(functionsIn)) this.#called.add(name)
    const isOwn = (each: ParsedStatement): boolean => this.#run.isOwn(each)
    const foreign = parsed.find((each) => !isOwn(each) && !isDdl(each) && !runsAlike(each))
    if (foreign !== undefined && foreign.tag !== 'TransactionStmt') this.#hasChanged = true
    if (this.#detached === undefined) return undefined
    // Knex (3.3) frees its lock in the transaction that has failed, and counts on ROLLBACK.
    if (this.#detached.hasFailed)
      return parsed.every((each) => this.#run.isLock(each)) ? undefined : inFailedTransaction()
    return foreign === undefined ? undefined : changeInTransaction()
  }

  /** Whether the transaction may have changed rows that a ROLLBACK has to undo. */
  async #mayHaveChanged(): Promise<boolean> {
    if (this.#hasChanged || this.#called.size === 0) return this.#hasChanged
    const { rows } = await this.#connection.query(
      `SELECT 1 AS own FROM pg_catalog.pg_proc WHERE pronamespace <> 'pg_catalog'::regnamespace AND proname IN (${[
        ...this.#called,
      ]
        .map(literal)
        .join(', ')}) LIMIT 1`,
    )
    return rows.length > 0
  }

  /** Ends the transaction of the driver, which goes on without knowing. */
  async #detach(sql: string): Promise<void> {
    await this.#askAll('COMMIT')
    this.#run.left(sql)
    this.#detached = { hasFailed: false, hasRun: false }
  }

  /** Answers the end of the transaction of which only the driver knows. */
  #endDetached(kind: unknown): void {
    const { hasFailed, hasRun } = this.#detached!
    this.#detached = undefined
    const isCommit = kind === 'TRANS_STMT_COMMIT'
    if (!isCommit && !hasFailed && hasRun) this.#emit(this.#failed(cannotRollBack()))
    else {
      const command = isCommit && !hasFailed ? 'COMMIT' : 'ROLLBACK'
      this.#emit(encodeMessage(BackendType.commandComplete, cString(command)))
    }
    this.#emit(this.#ready())
  }

  async #query(message: Buffer, sql: string): Promise<void> {
    const parsed = await parsedOf(sql)
    if (this.#run.isMigrating) await this.#whenIdle()
    const [first] = parsed
    if (this.#detached !== undefined && parsed.length === 1 && endsTransaction(first!)) {
      this.#endDetached(first!.node['kind'])
      return
    }
    const refusal = this.#refusal(parsed)
    if (refusal !== undefined) {
      this.#emit(this.#failed(refusal), this.#ready())
      return
    }
    if (this.#isChange(parsed)) {
      await this.#change(sql, message)
      this.#emit(this.#ready())
      return
    }
    const tables = parsed.flatMap((statement) => {
      const table = this.#run.appliedIn(statement)
      return table === undefined || isDdl(statement) ? [] : [{ table, statement }]
    })
    if (!parsed.some(isDdl) && tables.length === 0) {
      this.#requests++
      this.#socket.write(message)
      return
    }
    await this.#whenIdle()
    if (!parsed.some(isDdl)) {
      try {
        if (this.#mayBegin)
          for (const { statement, table } of tables) await this.#look(statement, table)
        const replies = await this.#ask(sql)
        this.#emit(...replies)
        const isDone = !replies.some((reply) => reply[0] === BackendType.errorResponse)
        if (!isDone && this.#detached !== undefined) this.#detached.hasFailed = true
        if (isDone && tables.some(({ statement }) => statement.tag !== 'SelectStmt'))
          await this.#run.noted(this.#connection)
      } catch (error) {
        this.#emit(this.#failed(error))
      }
    } else {
      try {
        this.#emit(...(await this.#runAll(sql)))
      } catch (error) {
        this.#emit(this.#failed(error))
      }
    }
    this.#emit(this.#ready())
  }

  /** Runs the statements of a text, some of which are DDL. Resolves with their replies. */
  async #runAll(sql: string): Promise<Buffer[]> {
    const statements = await toDsqlStatements(sql)
    await this.#whenIdle()
    if (
      this.#status === TransactionStatus.inTransaction &&
      this.#run.isMigrating &&
      !(await this.#mayHaveChanged())
    )
      await this.#detach(sql)
    if (this.#status !== TransactionStatus.idle) {
      const [only] = statements
      if (statements.length === 1 && only!.rewritten === undefined && only!.job !== true)
        return this.#askAll(sql)
      throw rewrittenInTransaction()
    }
    const replies: Buffer[] = []
    for (const [source, own] of grouped(statements)) {
      if (
        !own.some(({ kind, job, batch }) => kind === 'ddl' || job === true || batch !== undefined)
      ) {
        replies.push(...(await this.#askAll(source.text)))
        continue
      }
      const [first] = own
      if (first!.rewritten !== undefined)
        this.#run.rewritten({ ...first!, sql: own.map((each) => each.sql).join('; ') })
      await this.#run.run(this.#connection, own)
      if (this.#detached !== undefined) this.#detached.hasRun = true
      replies.push(encodeMessage(BackendType.commandComplete, cString(commandOf(source.text))))
    }
    return replies
  }

  async #askAll(sql: string): Promise<Buffer[]> {
    const replies = await this.#ask(sql)
    const failed = replies.find((reply) => reply[0] === BackendType.errorResponse)
    if (failed !== undefined) throw serverError(failed)
    return [...replies]
  }

  #emit(...messages: readonly Buffer[]): void {
    if (messages.length === 0 || this.#failure !== undefined) return
    const bytes = Buffer.concat(messages)
    this.#run.trail.received(bytes)
    this.push(bytes)
  }

  /** A lost connection fails the stream; everything else is an error of the statement. */
  #failed(error: unknown): Buffer {
    if (this.#failure !== undefined) throw this.#failure
    if (this.#detached !== undefined) this.#detached.hasFailed = true
    return responseTo(error)
  }
}

// Messages.

const NOTHING: Buffer = Buffer.alloc(0)
const MAX_OWN_BYTES = 0x3fff_ffff
const TERMINATE = encodeMessage(FrontendType.terminate)
const NO_PARAMETERS = encodeMessage(BackendType.parameterDescription, Buffer.alloc(2))
/** The messages with which a driver begins a statement. */
const BEGINNINGS: ReadonlySet<number> = new Set([FrontendType.query, FrontendType.parse])
const ASYNCHRONOUS: ReadonlySet<number> = new Set([
  BackendType.parameterStatus,
  BackendType.notificationResponse,
])

function statusText(status: number): 'I' | 'T' | 'E' {
  return String.fromCharCode(status) as 'I'
}

function closed(): Error {
  return Object.assign(new Error('the connection was closed'), { code: 'ECONNRESET' })
}

/** Counts errors, which may be split over chunks like every message. */
/** An error as pg has it, with the message of the server. */
function serverError(response: Buffer): Error {
  const fields = errorFields(response)
  return Object.assign(new Error(fields.get('M')), {
    code: fields.get('C'),
    severity: fields.get('V') ?? fields.get('S'),
    detail: fields.get('D'),
    hint: fields.get('H'),
    response,
  })
}

/** The ErrorResponse for the driver: that of the server, if it is one. */
function responseTo(error: unknown): Buffer {
  const { response, cause } = error as { response?: Buffer; cause?: { response?: Buffer } }
  const own = response ?? cause?.response
  if (own !== undefined) return own
  const { message } = error as Error
  if (!isPgIamError(error)) return errorResponse(new ServerError('XX000', message))
  // The commands of ORMs print the message only.
  const whole = error.hint === undefined ? message : `${message}. ${error.hint}`
  return errorResponse(new ServerError(SQL_STATES[error.code] ?? '58000', whole))
}

const SQL_STATES: Readonly<Record<string, string>> = {
  ERR_DSQL_STATEMENT: '0A000',
  ERR_MIGRATION_LEASE: '55P03',
  ERR_MIGRATION_STATE: '55000',
  ERR_OPTION_CONFLICT: '25001',
}

function rewrittenInTransaction(): PgIamError {
  return new PgIamError(
    'ERR_OPTION_CONFLICT',
    'a statement that has to be rewritten for Aurora DSQL was sent in a transaction',
    {
      hint: 'Aurora DSQL runs one statement of DDL in a transaction. Turn the transactions of the migration off.',
    },
  )
}

function changeInTransaction(): PgIamError {
  return new PgIamError(
    'ERR_OPTION_CONFLICT',
    'a statement that may change rows was sent in a transaction with DDL, which Aurora DSQL does not have',
    {
      hint: 'Turn the transactions of the migration off (Knex: --disable-transactions), and start it again: it goes on where it stopped.',
    },
  )
}

function cannotRollBack(): PgIamError {
  return new PgIamError(
    'ERR_OPTION_CONFLICT',
    'the DDL of the transaction has run and was not rolled back: Aurora DSQL has no transaction for it',
    { hint: 'Start the migration again: it goes on where it stopped.' },
  )
}

function inFailedTransaction(): Error {
  const message = 'current transaction is aborted, commands ignored until end of transaction block'
  return Object.assign(new Error(message), {
    response: errorResponse(new ServerError('25P02', message)),
  })
}

/** The columns of a result in text format. */
function rowsIn(replies: readonly Buffer[]): Record<string, unknown>[] {
  let names: string[] = []
  const rows: Record<string, unknown>[] = []
  for (const reply of replies) {
    if (reply[0] === BackendType.rowDescription) names = namesIn(reply)
    else if (reply[0] === BackendType.dataRow) {
      let offset = HEADER_BYTES + 2
      rows.push(
        Object.fromEntries(
          names.map((name) => {
            const length = reply.readInt32BE(offset)
            offset += 4
            if (length < 0) return [name, null]
            offset += length
            return [name, reply.toString('utf8', offset - length, offset)]
          }),
        ),
      )
    }
  }
  return rows
}

function namesIn(description: Buffer): string[] {
  const names: string[] = []
  let offset = HEADER_BYTES + 2
  for (let left = description.readInt16BE(HEADER_BYTES); left > 0; left--) {
    const end = description.indexOf(0, offset)
    names.push(description.toString('utf8', offset, end))
    // The terminator, and six fields of 18 bytes together.
    offset = end + 1 + 18
  }
  return names
}

// Statements.

async function parsedOf(sql: string): Promise<readonly ParsedStatement[]> {
  const { parse } = await sqlParser()
  const parsed = parse(sql)
  // PostgreSQL reports what is wrong with it.
  return parsed.fault === undefined ? parsed.statements : []
}

function endsTransaction({ tag, node }: ParsedStatement): boolean {
  return (
    tag === 'TransactionStmt' &&
    (node['kind'] === 'TRANS_STMT_COMMIT' || node['kind'] === 'TRANS_STMT_ROLLBACK')
  )
}

/** Whether a statement changes rows, also within WITH. */
function changesRows({ tag = '', node }: ParsedStatement): boolean {
  return CHANGES.has(tag) || (tag === 'SelectStmt' && changesWithin(node))
}

const CHANGES: ReadonlySet<string> = new Set([
  'InsertStmt',
  'UpdateStmt',
  'DeleteStmt',
  'MergeStmt',
])

function changesWithin(node: unknown): boolean {
  if (typeof node !== 'object' || node === null) return false
  return Object.entries(node).some(([key, value]) => CHANGES.has(key) || changesWithin(value))
}

/** The names of the functions that a statement calls, without their schema. */
function functionsIn({ node }: ParsedStatement): string[] {
  return calledWithin(node)
}

function calledWithin(node: unknown): string[] {
  if (typeof node !== 'object' || node === null) return []
  return Object.entries(node).flatMap(([key, value]) => {
    const own =
      key === 'FuncCall' ? stringsOf((value as Record<string, unknown>)['funcname']).slice(-1) : []
    return [...own, ...calledWithin(value)]
  })
}

/** Whether it makes no difference if the statement runs in a transaction or alone. */
function runsAlike(statement: ParsedStatement): boolean {
  const { tag, node } = statement
  if (tag === 'SelectStmt') return !changesRows(statement) && node['lockingClause'] === undefined
  if (tag === 'VariableSetStmt') return node['is_local'] !== true
  return tag === 'VariableShowStmt' || tag === 'ExplainStmt'
}

function isDdl({ tag = '' }: ParsedStatement): boolean {
  return /^(?:Create|Alter|Drop|Index|Rename|Comment|Truncate|Grant|View|Define|Composite)/.test(
    tag,
  )
}

function grouped(
  statements: readonly DsqlStatement[],
): Map<DsqlStatement['source'], DsqlStatement[]> {
  const groups = new Map<DsqlStatement['source'], DsqlStatement[]>()
  for (const statement of statements)
    groups.set(statement.source, [...(groups.get(statement.source) ?? []), statement])
  return groups
}

/** The tag of a command, such as `CREATE INDEX`: drivers report it. */
function commandOf(sql: string): string {
  const words = sql
    .replace(/^(?:\s|--[^\n]*\n|\/\*.*?\*\/)*/s, '')
    .toUpperCase()
    .split(/\s+/, 5)
    .filter((word) => !LEFT_OUT_OF_TAGS.has(word))
  const [first = '', second = ''] = words
  if (first === 'TRUNCATE') return 'TRUNCATE TABLE'
  return ALONE.has(first) ? first : `${first} ${second}`
}

/** https://www.postgresql.org/docs/current/protocol-message-formats.html: CommandComplete. */
const ALONE: ReadonlySet<string> = new Set(['COMMENT', 'GRANT', 'REVOKE'])
const LEFT_OUT_OF_TAGS: ReadonlySet<string> = new Set(['OR', 'REPLACE', 'UNIQUE', 'ASYNC'])
