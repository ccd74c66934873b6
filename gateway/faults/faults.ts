/** Fault injection, to test how applications handle failures. */
import type { ServerError } from '../../wire/error-response.js'
import { fatal } from '../auth/refusal.js'
import {
  ageLimit,
  type ConflictCode,
  conflictOptions,
  type ConflictOptions,
  connectionLimits,
  type ConnectionLimits,
  cutOptions,
  type CutOptions,
  type CutStage,
  rejectOptions,
  type RejectOptions,
  timesOptions,
  type TimesOptions,
} from './fault-options.js'
import type { FaultDecisions } from './session-faults.js'

/**
 * Injects faults. Each call arms an additional fault, which stays armed until it has occurred the given number of times, or until
 * `clear()`. Invalid options throw `ERR_OPTION_INVALID`.
 */
export interface GatewayFaults {
  /** Refuses the next logins with the given error, before their token is verified. */
  rejectLogins(options?: RejectOptions): void
  /** Delays the next logins after their token is received, until the returned function is called or the client disconnects. */
  stallLogins(options?: TimesOptions): () => void
  /** Cuts connections at the given stage, without an error message. */
  cut(options: CutOptions): void
  /** Makes COMMITs or statements fail with a conflict. The transaction of such a COMMIT is rolled back. */
  raiseConflicts(options?: ConflictOptions): void
  /** Ends every session at this age in milliseconds, as Aurora DSQL does at 60 minutes. `undefined` removes the limit. */
  endSessionsAt(ageMs: number | undefined): void
  /** Limits open sessions and the rate of new ones, with the errors of Aurora DSQL. `undefined` removes the limits. */
  limitConnections(limits: ConnectionLimits | undefined): void
  /** The open sessions. */
  sessions(): GatewaySession[]
  /** Ends one session, as an administrator would. Returns `false` if no session has this process ID. */
  killSession(processId: number): boolean
  /** Disarms all faults. Delayed logins continue, and open sessions remain open. */
  clear(): void
}

/** Called where faults can occur. */
export interface FaultHooks extends FaultDecisions {
  /** Whether to cut a connection that was just accepted. */
  cutOnAccept(): boolean
  /** Admits a login before its token is verified, or returns the error that refuses it. */
  admitLogin(): LoginPlace | ServerError
  /** Resolves when a login may continue after its token was received, and whether to cut it. */
  afterToken(): Promise<{ isCut: boolean }>
  readonly registry: SessionRegistry
}

/** Counts towards the limit of sessions until the login has become a session or has failed. */
export interface LoginPlace {
  leave(): void
}

/** @param random the source of randomness for faults with a probability */
export function createFaults(
  now: () => number,
  random: () => number = Math.random,
): { faults: GatewayFaults; hooks: FaultHooks } {
  const rejections = createArmedFaults<ServerError>()
  const stalls = createArmedFaults<Promise<void>>()
  const conflicts = {
    commit: createArmedFaults<ConflictCode>(),
    statement: createArmedFaults<ConflictCode>(),
  }
  const chances: Partial<
    Record<'commit' | 'statement', { probability: number; code: ConflictCode }>
  > = {}
  const cuts = {
    'before-tls': createArmedFaults<true>(),
    authentication: createArmedFaults<true>(),
    statement: createArmedFaults<true>(),
    'before-commit': createArmedFaults<true>(),
    'after-commit': createArmedFaults<true>(),
  } satisfies Record<CutStage, unknown>
  const ofStatements = [
    conflicts.commit,
    conflicts.statement,
    cuts.statement,
    cuts['before-commit'],
    cuts['after-commit'],
  ]
  const releases = new Set<() => void>()
  const registry = createSessionRegistry(now)
  let limiter: ConnectionLimiter | undefined
  const places = new Set<LoginPlace>()

  const hooks: FaultHooks = {
    get isArmed() {
      return (
        chances.commit !== undefined ||
        chances.statement !== undefined ||
        ofStatements.some((armed) => !armed.isEmpty)
      )
    },
    cut: (stage) => cuts[stage].take() === true,
    conflict(at) {
      const chance = chances[at]
      if (chance !== undefined && random() < chance.probability) return chance.code
      return conflicts[at].take()
    },
    cutOnAccept: () => cuts['before-tls'].take() === true,
    admitLogin() {
      const refusal = rejections.take() ?? limiter?.admit(registry.count() + places.size)
      if (refusal !== undefined) return refusal
      const place: LoginPlace = { leave: () => void places.delete(place) }
      places.add(place)
      return place
    },
    async afterToken() {
      await stalls.take()
      return { isCut: cuts.authentication.take() === true }
    },
    registry,
  }

  const faults: GatewayFaults = {
    rejectLogins(options = {}) {
      const { times, sqlState, message } = rejectOptions(options)
      rejections.add(fatal(sqlState, message), times)
    },
    stallLogins(options = {}) {
      const { times } = timesOptions(options)
      let release: () => void = () => {}
      stalls.add(new Promise((resolve) => (release = resolve)), times)
      releases.add(release)
      return release
    },
    cut(options) {
      const { at, times } = cutOptions(options)
      cuts[at].add(true, times)
    },
    raiseConflicts(options = {}) {
      const { at, times, probability, code } = conflictOptions(options)
      if (probability === undefined) conflicts[at].add(code, times)
      else chances[at] = { probability, code }
    },
    endSessionsAt: (ageMs) => registry.endAt(ageLimit(ageMs)),
    limitConnections(limits) {
      limiter =
        limits === undefined ? undefined : createConnectionLimiter(connectionLimits(limits), now)
    },
    sessions: () => registry.list(),
    killSession: (processId) => registry.kill(processId),
    clear() {
      for (const armed of [
        rejections,
        stalls,
        conflicts.commit,
        conflicts.statement,
        ...Object.values(cuts),
      ])
        armed.clear()
      delete chances.commit
      delete chances.statement
      limiter = undefined
      registry.endAt(undefined)
      for (const release of releases) release()
      releases.clear()
    },
  }
  return { faults: Object.freeze(faults), hooks }
}

// Faults that occur a number of times.

interface ArmedFaults<Fault> {
  /** Arms a fault for the next `times` occasions. */
  add(fault: Fault, times: number): void
  /** Returns the first armed fault, if any, and reduces its number of times. */
  take(): Fault | undefined
  readonly isEmpty: boolean
  clear(): void
}

function createArmedFaults<Fault>(): ArmedFaults<Fault> {
  let armed: { fault: Fault; left: number }[] = []
  return {
    add: (fault, times) => void armed.push({ fault, left: times }),
    take: () => {
      const [first] = armed
      if (first === undefined) return undefined
      if (--first.left === 0) armed = armed.slice(1)
      return first.fault
    },
    get isEmpty() {
      return armed.length === 0
    },
    clear: () => {
      armed = []
    },
  }
}

// Limits open sessions and the rate of new ones, as Aurora DSQL does.

interface ConnectionLimiter {
  /** Admits a session, or returns the error that refuses it. */
  admit(openSessions: number): ServerError | undefined
}

/**
 * A token bucket that is full at first. Texts and SQLSTATEs are those of
 * https://docs.aws.amazon.com/aurora-dsql/latest/userguide/CHAP_quotas.html
 */
export function createConnectionLimiter(
  { max, perSecond, burst = perSecond }: ConnectionLimits,
  now: () => number,
): ConnectionLimiter {
  const capacity = Math.max(1, burst ?? Infinity)
  let level = capacity
  let filledAt = now()
  return {
    admit(openSessions) {
      if (max !== undefined && openSessions >= max) {
        return fatal('53300', 'Unable to accept connection, too many open connections.')
      }
      if (perSecond === undefined) return undefined
      const time = now()
      level = Math.min(capacity, level + ((time - filledAt) / 1_000) * perSecond)
      filledAt = time
      if (level < 1) return fatal('53400', 'Unable to accept connection, rate exceeded.')
      level--
      return undefined
    },
  }
}

// The open sessions, and faults that end them.

/** An open session. */
export interface GatewaySession {
  /**
   * The process ID that the client got (`client.processID` in pg), which is also that of `pg_backend_pid()`. With PGlite, where all
   * sessions share one backend, a number that is unique to the session.
   */
  readonly processId: number
  readonly role: string
  readonly database: string
  readonly applicationName: string | undefined
  /** Epoch milliseconds. */
  readonly openedAt: number
}

interface SessionRegistry {
  /** Adds a session, which `terminate` ends with an error to its client. Returns the function that removes it. */
  add(
    session: Omit<GatewaySession, 'openedAt'>,
    terminate: (error: ServerError) => void,
  ): () => void
  list(): GatewaySession[]
  count(): number
  /** Ends the session with this process ID, or all such sessions if the upstream is several servers. Returns whether there was one. */
  kill(processId: number): boolean
  /** Ends every open and future session at this age. `undefined` removes the limit. */
  endAt(ageMs: number | undefined): void
}

function createSessionRegistry(now: () => number): SessionRegistry {
  const sessions = new Set<Entry>()
  let ageLimitMs: number | undefined

  const expire = (entry: Entry): void => {
    clearTimeout(entry.timer)
    if (ageLimitMs === undefined) return
    const left = entry.session.openedAt + ageLimitMs - now()
    const end = (): void =>
      entry.terminate(
        fatal('57P01', 'terminating connection because it has reached its maximum duration'),
      )
    entry.timer = setTimeout(end, Math.max(0, left)).unref()
  }
  return {
    add(session, terminate) {
      const entry: Entry = { session: { ...session, openedAt: now() }, terminate }
      sessions.add(entry)
      expire(entry)
      return () => {
        clearTimeout(entry.timer)
        sessions.delete(entry)
      }
    },
    count: () => sessions.size,
    list: () => [...sessions].map(({ session }) => ({ ...session })),
    kill(processId) {
      const named = [...sessions].filter(({ session }) => session.processId === processId)
      for (const { terminate } of named)
        terminate(fatal('57P01', 'terminating connection due to administrator command'))
      return named.length > 0
    },
    endAt(ageMs) {
      ageLimitMs = ageMs
      for (const entry of sessions) expire(entry)
    },
  }
}

interface Entry {
  readonly session: GatewaySession
  readonly terminate: (error: ServerError) => void
  timer?: NodeJS.Timeout
}
