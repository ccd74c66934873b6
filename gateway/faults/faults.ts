/** What the gateway does wrong on purpose, so that applications can be tested against it. */
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
 * Faults on demand. Each call arms one fault more; what is armed stays so until it has happened as often as asked for, or
 * until `clear()`. All options are checked: what is wrong throws `ERR_OPTION_INVALID`.
 */
export interface GatewayFaults {
  /** Refuses the next logins with an error of your choice, before their token is looked at. */
  rejectLogins(options?: RejectOptions): void
  /** Holds the next logins up once their token has come, until the returned function is called or the client gives up. */
  stallLogins(options?: TimesOptions): () => void
  /** Cuts connections without a word, at a stage of your choice. */
  cut(options: CutOptions): void
  /** Makes COMMITs or statements meet a conflict; a COMMIT that does is rolled back. */
  raiseConflicts(options?: ConflictOptions): void
  /** Ends every session at this age in milliseconds, as Aurora DSQL does at 60 minutes; `undefined` ends that. */
  endSessionsAt(ageMs: number | undefined): void
  /** Limits open sessions and new ones a second, with the refusals of Aurora DSQL; `undefined` ends that. */
  limitConnections(limits: ConnectionLimits | undefined): void
  /** The sessions that are open. */
  sessions(): GatewaySession[]
  /** Ends one session, as an administrator would. Returns `false` where there is none with this process ID. */
  killSession(processId: number): boolean
  /** Disarms everything; logins that are held up go on. Open sessions stay. */
  clear(): void
}

/** The occasions on which faults happen. */
export interface FaultHooks extends FaultDecisions {
  /** Whether a connection that was just accepted is cut. */
  cutOnAccept(): boolean
  /** Takes a place for a login whose token was not looked at yet, or says with which error it is refused. */
  admitLogin(): LoginPlace | ServerError
  /** Resolves when a login whose token has come may go on, with whether it is to be cut. */
  afterToken(): Promise<{ isCut: boolean }>
  readonly registry: SessionRegistry
}

/** Counts as a session until the login has become one, or has failed. */
export interface LoginPlace {
  leave(): void
}

/** @param random chance, for faults with a probability */
export function createFaults(
  now: () => number,
  random: () => number = Math.random,
): { faults: GatewayFaults; hooks: FaultHooks } {
  const rejections = createCharges<ServerError>()
  const stalls = createCharges<Promise<void>>()
  const conflicts = {
    commit: createCharges<ConflictCode>(),
    statement: createCharges<ConflictCode>(),
  }
  const chances: Partial<
    Record<'commit' | 'statement', { probability: number; code: ConflictCode }>
  > = {}
  const cuts = {
    'before-tls': createCharges<true>(),
    authentication: createCharges<true>(),
    statement: createCharges<true>(),
    'before-commit': createCharges<true>(),
    'after-commit': createCharges<true>(),
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
        ofStatements.some((charges) => !charges.isEmpty)
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
      for (const charges of [
        rejections,
        stalls,
        conflicts.commit,
        conflicts.statement,
        ...Object.values(cuts),
      ])
        charges.clear()
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

// Faults that are to happen a number of times.

interface Charges<Fault> {
  /** Arms a fault for the next `times` occasions. */
  add(fault: Fault, times: number): void
  /** Uses up one charge of the first armed fault, if any. */
  take(): Fault | undefined
  readonly isEmpty: boolean
  clear(): void
}

function createCharges<Fault>(): Charges<Fault> {
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

// Limits open sessions and new ones a second, as Aurora DSQL does.

interface ConnectionLimiter {
  /** Lets one more session in, or says with which error it is refused. */
  admit(openSessions: number): ServerError | undefined
}

/**
 * A token bucket: full at first, refilled steadily. Texts and SQLSTATEs are those of
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

// The sessions that are open, and what ends them.

/** A session that is open. */
export interface GatewaySession {
  /**
   * As the client got it (`client.processID` in pg) and as SQL has it (`pg_backend_pid()`); on PGlite, where all sessions have one
   * backend, a number of the session's own.
   */
  readonly processId: number
  readonly role: string
  readonly database: string
  readonly applicationName: string | undefined
  /** Epoch milliseconds. */
  readonly openedAt: number
}

interface SessionRegistry {
  /** Adds a session, which `terminate` ends with a last error to its client. Returns the function that takes it out. */
  add(
    session: Omit<GatewaySession, 'openedAt'>,
    terminate: (error: ServerError) => void,
  ): () => void
  list(): GatewaySession[]
  count(): number
  /** Ends the session with this process ID; all that have it, where the upstream is several servers. Returns whether there was one. */
  kill(processId: number): boolean
  /** Ends every session, those that are open and those to come, at this age; with `undefined` no more. */
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
