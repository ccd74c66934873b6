/** The pools of signed-in users: each has its own, and their number is limited. */
import { setMaxListeners } from 'node:events'
import { Pool, type PoolClient, type PoolConfig } from 'pg'
import { createPool, pgConfig } from '../adapters/pg.js'
import { PgIamError } from '../core/errors.js'
import type { Login } from '../core/login.js'
import { abortable } from '../core/async.js'
import { sessionEnded } from './identity-provider.js'

export interface PoolLimits {
  /** The number of pools with connections, over all users. */
  readonly pools: number
  /** The same for one user. */
  readonly poolsPerUser: number
  /** How long a pool keeps its connections when nobody uses it, in seconds. */
  readonly poolIdleSecs: number
  /** How long a query waits for one of the pools, in milliseconds. */
  readonly poolWaitMs: number
}

/** A pool of one user. It opens no connection before it is used. */
export interface UserPool {
  readonly pool: Pool
  /** Whether it was ended, by `close` or by the application. */
  isClosed(): boolean
  /**
   * Ends it with its session. Later queries reject with `ERR_SESSION_ENDED`, also on a connection that was taken from it before. When the
   * application ends a pool, such a connection works until it is released, as with pg.
   */
  close(): Promise<void>
}

export interface UserPools {
  /** @param user identifies the user, for the limit of pools of one user */
  create(user: string, login: Login, config: PoolConfig): UserPool
  /** The number of pools with connections. */
  active(): number
  /** Ends all of them for the application, which may finish its transactions. */
  close(): Promise<void>
}

interface Waiting {
  readonly slot: Slot
  readonly serve: () => void
  readonly reject: (error: Error) => void
}

/** One pool of a user, with its connections or without. */
interface Slot {
  readonly user: string
  /** The pool with connections; `undefined` while it has none. */
  inner: Pool | undefined
  /** Connections that were asked for or are in use. */
  uses: number
  /** Those that the application has. */
  readonly clients: Set<PoolClient>
  lastUsedAt: number
  /** Its connections are being closed. They count until that is done. */
  ending: Promise<void> | undefined
  /** Aborts with the error of later queries when the pool is closed for good. */
  readonly closed: AbortController
}

/**
 * Creates the pools of all users. When a limit is reached, the least recently used pool that nobody uses loses its connections, and opens
 * new ones when it is used again. If all are in use, a query waits for one of them, in order.
 */
export function createUserPools(limits: PoolLimits, now: () => number = Date.now): UserPools {
  const slots = new Set<Slot>()
  /** Those with connections, or whose connections are being closed. */
  const active = new Set<Slot>()
  let waiting: Waiting[] = []
  let sweep: NodeJS.Timeout | undefined

  const activeOf = (user: string): Slot[] => [...active].filter((slot) => slot.user === user)

  const endConnections = (slot: Slot): Promise<void> => {
    const { inner } = slot
    if (inner === undefined) return slot.ending ?? Promise.resolve()
    slot.inner = undefined
    slot.ending = inner.end().finally(() => {
      slot.ending = undefined
      active.delete(slot)
      serveWaiting()
    })
    return slot.ending
  }

  /** Whether the slot may have connections now. If not, asks the least recently used one for its place. */
  const makeRoom = (slot: Slot): boolean => {
    if (slot.ending !== undefined) return false
    const ofUser = activeOf(slot.user)
    const bound =
      ofUser.length >= limits.poolsPerUser
        ? ofUser
        : active.size >= limits.pools
          ? [...active]
          : undefined
    if (bound === undefined) return true
    if (bound.some(({ ending }) => ending !== undefined)) return false
    const [oldest] = bound
      .filter(({ uses, inner }) => uses === 0 && inner !== undefined)
      .toSorted((one, other) => one.lastUsedAt - other.lastUsedAt)
    if (oldest !== undefined) void endConnections(oldest)
    return false
  }

  const serveWaiting = (): void => {
    for (const each of waiting.slice()) {
      if (each.slot.inner === undefined && !makeRoom(each.slot)) continue
      each.serve()
    }
  }

  const use = (slot: Slot, open: () => Pool): Pool => {
    slot.inner ??= open()
    slot.uses++
    active.add(slot)
    slot.lastUsedAt = now()
    scheduleSweep()
    return slot.inner
  }

  const enter = async (slot: Slot, open: () => Pool): Promise<Pool> => {
    slot.closed.signal.throwIfAborted()
    if (slot.inner !== undefined || (waiting.length === 0 && makeRoom(slot))) return use(slot, open)
    return new Promise<Pool>((resolve, reject) => {
      const timer = setTimeout(() => entry.reject(noPool(limits)), limits.poolWaitMs)
      const leaveQueue = (): void => {
        clearTimeout(timer)
        waiting = waiting.filter((each) => each !== entry)
      }
      const entry: Waiting = {
        slot,
        serve: () => {
          leaveQueue()
          // Now, so that the next one in the queue sees that the place is taken.
          resolve(use(slot, open))
        },
        reject: (error) => {
          leaveQueue()
          reject(error)
        },
      }
      waiting.push(entry)
      serveWaiting()
    })
  }

  const leave = (slot: Slot): void => {
    slot.uses--
    slot.lastUsedAt = now()
    if (slot.uses === 0 && waiting.length > 0) serveWaiting()
  }

  const scheduleSweep = (): void => {
    if (sweep !== undefined) return
    sweep = setTimeout(() => {
      sweep = undefined
      const idleMs = limits.poolIdleSecs * 1_000
      for (const slot of active) {
        if (slot.inner !== undefined && slot.uses === 0 && now() - slot.lastUsedAt >= idleMs)
          void endConnections(slot)
      }
      if (active.size > 0) scheduleSweep()
    }, limits.poolIdleSecs * 500)
    // It must not keep the process alive.
    sweep.unref()
  }

  const closeSlot = async (slot: Slot, reason: PgIamError): Promise<void> => {
    slot.closed.abort(reason)
    for (const each of waiting) if (each.slot === slot) each.reject(reason)
    await endConnections(slot)
    slots.delete(slot)
  }

  return {
    create(user, login, given) {
      // The pool may be opened again when the application has changed its object.
      const config = { ...given }
      const closed = new AbortController()
      // Each query that waits for a connection listens.
      setMaxListeners(0, closed.signal)
      const slot: Slot = {
        user,
        inner: undefined,
        uses: 0,
        clients: new Set(),
        lastUsedAt: now(),
        ending: undefined,
        closed,
      }
      slots.add(slot)
      const pool: PoolOfUser = new PoolOfUser(
        pgConfig(login, config),
        slot,
        () => enter(slot, () => forwardEvents(createPool(login, config), pool)),
        () => leave(slot),
        () => closeSlot(slot, new PgIamError('ERR_CLOSED', 'the pool was ended')),
      )
      // As createPool() does: the loss of an idle connection must not end the process.
      pool.on('error', () => {})
      return {
        pool,
        isClosed: () => closed.signal.aborted,
        close() {
          const reason = sessionEnded()
          for (const client of slot.clients) refuseQueries(client, reason)
          return closeSlot(slot, reason)
        },
      }
    },
    active: () => active.size,
    async close() {
      clearTimeout(sweep)
      sweep = undefined
      const reason = new PgIamError('ERR_CLOSED', 'the sign-in was closed')
      await Promise.all([...slots].map((slot) => closeSlot(slot, reason)))
    },
  }
}

const EVENTS = ['connect', 'acquire', 'release', 'remove', 'error'] as const

/** The application listens to the pool that it has. */
function forwardEvents(inner: Pool, outer: Pool): Pool {
  for (const name of EVENTS)
    inner.on(name as 'connect', (...values) => void outer.emit(name, ...values))
  return inner
}

/**
 * What the application gets: a pool of pg whose connections may be closed, and opened again, between two queries. `query` of pg-pool 3.14 calls
 * `connect` with a callback.
 */
class PoolOfUser extends Pool {
  readonly #enter: () => Promise<Pool>
  readonly #leave: () => void
  readonly #close: () => Promise<void>
  readonly #closed: AbortSignal
  readonly #clients: Set<PoolClient>

  constructor(
    config: PoolConfig,
    slot: Slot,
    enter: () => Promise<Pool>,
    leave: () => void,
    close: () => Promise<void>,
  ) {
    super(config)
    this.#enter = enter
    this.#leave = leave
    this.#close = close
    this.#closed = slot.closed.signal
    this.#clients = slot.clients
    // Accessors of pg-pool's prototype, which its types declare as properties.
    Object.defineProperties(this, {
      totalCount: { get: () => slot.inner?.totalCount ?? 0 },
      idleCount: { get: () => slot.inner?.idleCount ?? 0 },
      waitingCount: { get: () => slot.inner?.waitingCount ?? 0 },
    })
  }

  override connect(): Promise<PoolClient>
  override connect(
    callback: (
      error: Error | undefined,
      client: PoolClient | undefined,
      done: (release?: unknown) => void,
    ) => void,
  ): void
  override connect(
    callback?: (
      error: Error | undefined,
      client: PoolClient | undefined,
      done: (release?: unknown) => void,
    ) => void,
  ): Promise<PoolClient> | void {
    const work = this.#connect()
    if (callback === undefined) return work
    work.then(
      // This release: later, the same client has that of the next one who gets it.
      (client) => callback(undefined, client, client.release as (error?: unknown) => void),
      (error: Error) => callback(error, undefined, () => {}),
    )
    return undefined
  }

  async #connect(): Promise<PoolClient> {
    const inner = await this.#enter()
    const pending = inner.connect()
    let client: PoolClient
    try {
      // pg-pool (3.14) neither serves nor rejects what waits for a connection when it is ended.
      client = await abortable(pending, this.#closed)
    } catch (error) {
      this.#leave()
      pending.then(
        (late) => late.release(),
        () => {},
      )
      throw this.#closed.aborted ? (this.#closed.reason as Error) : error
    }
    const { release } = client
    let isReleased = false
    // Once for each client: the pool's event "release" also comes for connections that it tests itself.
    client.release = (error) => {
      if (isReleased)
        throw new Error('Release called on client which has already been released to the pool.')
      isReleased = true
      this.#clients.delete(client)
      // A connection whose queries are refused is of no use to others.
      release.call(client, error ?? this.#closed.aborted)
      this.#leave()
    }
    this.#clients.add(client)
    return client
  }

  override end(): Promise<void>
  override end(callback: () => void): void
  override end(callback?: () => void): Promise<void> | void {
    const work = this.#close()
    if (callback === undefined) return work
    work.then(callback, callback)
    return undefined
  }
}

/** Its running query finishes, and all later ones fail. The client itself is destroyed when it is given back. */
function refuseQueries(client: PoolClient, reason: Error): void {
  const refuse = (query: unknown, ...rest: readonly unknown[]): unknown => {
    const callback = [query, ...rest].findLast((value) => typeof value === 'function')
    const { callback: inConfig, handleError } = Object(query) as Partial<
      Record<'callback' | 'handleError', (error: Error, connection?: unknown) => void>
    >
    const report = (callback as typeof inConfig) ?? inConfig
    if (report !== undefined) process.nextTick(report, reason)
    // A cursor, or another object that pg submits.
    else if (handleError !== undefined)
      process.nextTick(() => handleError.call(query, reason, client))
    else return Promise.reject(reason)
    return query
  }
  client.query = refuse as typeof client.query
}

function noPool({ pools, poolsPerUser, poolWaitMs }: PoolLimits): PgIamError {
  return new PgIamError(
    'ERR_SIGN_IN_LIMIT',
    `none of the ${pools} pools (${poolsPerUser} of one user) became free within ${poolWaitMs} ms`,
    {
      hint: 'Raise "limits.pools" or "limits.poolsPerUser", or give connections back sooner.',
      retryable: true,
    },
  )
}
