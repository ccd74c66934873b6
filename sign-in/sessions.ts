/**
 * The sessions of signed-in users: records in the store, their tokens and refresh, and what this process holds for them: credentials,
 * logins and pools.
 */
import { createHash, randomBytes, randomUUID } from 'node:crypto'
import { setTimeout as pause } from 'node:timers/promises'
import type { Pool, PoolConfig } from 'pg'
import { singleFlight, sleep, withTimeout } from '../core/async.js'
import { isPgIamError, PgIamError } from '../core/errors.js'
import type { Logger } from '../core/events.js'
import { internalsOf, type Login } from '../core/login.js'
import { invalidOption, invalidSecret, isPlainObject } from '../core/options/check.js'
import type { IdentityCredentials, SignedInIdentity } from './identity-credentials.js'
import {
  type IdentityProvider,
  type LogoutTokenClaims,
  sessionEnded,
  type UserTokens,
} from './identity-provider.js'
import type { Sealer } from './sealing.js'
import type { watchStore } from './session-store.js'
import type { UserPool, UserPools } from './user-pools.js'

/** The session of a signed-in user. It contains no token that could be printed. */
export interface Session {
  /** Identifies the session in logs. It is not the value of the cookie. */
  readonly id: string
  readonly issuer: string
  /** The claim `sub`: the user at this issuer. */
  readonly subject: string
  /** The claims of the ID token. */
  readonly claims: Readonly<Record<string, unknown>>
  readonly signedInAt: Date
  /** When the session ends in any case. */
  readonly expiresAt: Date
  /** When the session ends if it is not used before. */
  readonly idleExpiresAt: Date
  /** When the user's tokens expire. They are refreshed with the first request after that. */
  readonly tokensExpireAt: Date
  /**
   * Returns the user's own login. Equal options return the same login.
   *
   * @param provider such as `redshift` or `auroraDsql`
   * @param options its options, without `credentials`
   * @throws PgIamError `ERR_OPTION_CONFLICT` for `credentials` or `profile`, and the errors of the provider
   */
  login<O extends object>(provider: (options: O) => Login, options: Omit<O, 'credentials'>): Login
  /**
   * Returns the user's own pool for one of the user's logins. An equal configuration returns the same pool.
   *
   * Its connections are closed when it is idle (`limits.poolIdleSecs`), or when another user needs their place; the next query opens new
   * ones. It is closed with the session: queries then reject with `ERR_SESSION_ENDED`. Queries reject with `ERR_SIGN_IN_LIMIT` if all pools
   * are in use for too long.
   *
   * @param login from `session.login`
   * @param config the options of `pg.Pool`, except address, user, password and TLS
   */
  pool(login: Login, config?: PoolConfig): Pool
}

/** What the store has of a session, encrypted. */
interface SessionRecord {
  readonly tokens: UserTokens
  /** Epoch milliseconds. */
  readonly signedInAt: number
  /** Counts the refreshes: of two records, the one with the higher number has the valid refresh token. */
  readonly generation: number
}

export interface SessionLimits {
  readonly sessionSecs: number
  readonly idleSecs: number
  readonly requestTimeoutMs: number
}

export interface SessionsSettings {
  readonly issuer: string
  /** Identifies the application: another one, with the same store and keys, does not have its sessions. */
  readonly application: string
  readonly provider: IdentityProvider
  readonly store: ReturnType<typeof watchStore>
  readonly sealer: Sealer
  readonly credentials: IdentityCredentials
  readonly limits: SessionLimits
  readonly pools: UserPools
  readonly logger: Logger | undefined
  readonly now: () => number
}

export interface Sessions {
  /** Resolves with the value for the cookie. */
  create(tokens: UserTokens): Promise<string>
  /** The session of a cookie, or `undefined` if it has ended. */
  load(cookie: string): Promise<Session | undefined>
  /** Ends a session. Resolves with its tokens, if there was one. */
  end(cookie: string): Promise<UserTokens | undefined>
  /** Ends one session at the provider, or all sessions of a user, in every process. */
  endAll(notice: Pick<LogoutTokenClaims, 'subject' | 'sid' | 'until'>): Promise<void>
  wasUsed(name: string): Promise<boolean>
  /** Remembers for `ttlSecs` that `name` was used. */
  markUsed(name: string, ttlSecs: number): Promise<void>
  close(): Promise<void>
}

/** What this process holds of one session. */
interface LocalSession {
  readonly key: string
  readonly subject: string
  readonly sid: string | undefined
  record: SessionRecord
  hasEnded: boolean
  /** Made with the first login. */
  credentials: ReturnType<IdentityCredentials> | undefined
  readonly logins: { provider: unknown; options: unknown; login: Login }[]
  pools: { login: Login; config: PoolConfig; pool: UserPool }[]
  readonly refresh: () => Promise<void>
  lastUsedAt: number
  /** After a refresh that failed: when requests try it again. */
  refreshAfter: number
}

export function createSessions(settings: SessionsSettings): Sessions {
  const { issuer, provider, store, sealer, limits, pools, logger, now } = settings
  /** By the key in the store. */
  const held = new Map<string, LocalSession>()
  let isClosed = false

  /** The store learns a hash of the cookie, from which nobody can make the cookie. */
  const keyOf = (cookie: string): string => hashOf('session', settings.application, cookie)
  const write = async (key: string, record: SessionRecord): Promise<void> => {
    await store.set(key, await sealer.seal(key, record), Math.max(1, secondsLeft(record)))
  }
  // The last use of a session has a separate key. A store whose touch() writes the whole value could otherwise restore a session that has
  // ended, or its tokens from before a refresh.
  const usedKey = (key: string): string => hashOf('used', key)
  const markInUse = async (key: string): Promise<void> => {
    const used = usedKey(key)
    await store.set(used, await sealer.seal(used, {}), limits.idleSecs)
  }
  const erase = async (key: string): Promise<void> => {
    await Promise.all([store.destroy(key), store.destroy(usedKey(key))])
  }
  const read = async (key: string): Promise<SessionRecord | undefined> => {
    const sealed = await store.get(key)
    return sealed === undefined
      ? undefined
      : ((await sealer.open(key, sealed)) as SessionRecord | undefined)
  }
  const endsAt = ({ signedInAt }: SessionRecord): number => signedInAt + limits.sessionSecs * 1_000
  const secondsLeft = (record: SessionRecord): number => Math.ceil((endsAt(record) - now()) / 1_000)

  // A note that all sessions of a user, or of a session at the provider, that began until then have ended. It needs no list of sessions.
  const noteKey = (kind: 'sub' | 'sid' | 'sub without sid', value: string): string =>
    hashOf('ended', kind, issuer, value)
  /** Sessions that began until then have ended, in epoch milliseconds; 0 if there is no such note. */
  const endOf = async (note: string): Promise<number> => {
    const sealed = await store.get(note)
    const opened = sealed === undefined ? undefined : await sealer.open(note, sealed)
    return ((opened ?? {}) as { until?: number }).until ?? 0
  }
  const wasEnded = async (key: string, { tokens, signedInAt }: SessionRecord): Promise<boolean> => {
    const notes = await Promise.all(
      [
        endedKey(key),
        noteKey('sub', tokens.subject),
        sidOf(tokens) === undefined
          ? noteKey('sub without sid', tokens.subject)
          : noteKey('sid', sidOf(tokens)!),
      ].map(endOf),
    )
    return notes.some((until) => until >= signedInAt)
  }

  /** The note of a sign-out, for a refresh that writes the session again. */
  const endedKey = (key: string): string => hashOf('ended', 'session', key)

  const forget = (each: LocalSession, reason: string): void => {
    if (each.hasEnded) return
    each.hasEnded = true
    held.delete(each.key)
    for (const { login } of each.logins) internalsOf(login)?.end(sessionEnded())
    logger?.info('pg-iam: a session has ended', { session: idOf(each.key), reason })
    // Not awaited: a connection closes when its query has finished, which may take long.
    for (const { pool } of each.pools) void pool.close().catch(() => {})
  }
  /** Ends it for every process. */
  const destroy = async (each: LocalSession, reason: string): Promise<void> => {
    forget(each, reason)
    await erase(each.key)
  }

  const hold = (key: string, record: SessionRecord): LocalSession => {
    const known = held.get(key)
    if (known !== undefined) {
      if (record.generation > known.record.generation) known.record = record
      known.lastUsedAt = now()
      return known
    }
    const each: LocalSession = {
      key,
      subject: record.tokens.subject,
      sid: sidOf(record.tokens),
      record,
      hasEnded: false,
      credentials: undefined,
      logins: [],
      pools: [],
      refresh: singleFlight(() => refresh(each)),
      lastUsedAt: now(),
      refreshAfter: 0,
    }
    held.set(key, each)
    // It must not keep the process alive.
    sweep ??= setInterval(dropExpired, DROP_EVERY_MS).unref()
    return each
  }
  /** Sessions whose browser never came back: the store has forgotten them, too. */
  const dropExpired = (): void => {
    for (const each of held.values()) if (isOver(each)) forget(each, 'it was not used')
  }
  let sweep: NodeJS.Timeout | undefined
  const isOver = ({ lastUsedAt, record }: LocalSession): boolean =>
    now() - lastUsedAt > limits.idleSecs * 1_000 || secondsLeft(record) <= 0
  /** Throws if the session is over, also of an object that the application has kept. */
  const requireSession = (each: LocalSession): void => {
    if (!each.hasEnded && isOver(each)) forget(each, 'its time is over')
    if (each.hasEnded) throw sessionEnded()
  }

  const hasExpired = ({ tokens: { expiresAt } }: SessionRecord): boolean =>
    expiresAt - now() < REFRESH_BEFORE_MS
  const lockSecs = Math.ceil((REFRESH_REQUESTS * limits.requestTimeoutMs) / 1_000)
  /**
   * Refreshes the tokens. Providers that rotate refresh tokens take a second use for theft, and end the session. So one process does it,
   * and the others wait for its result: the store has no locks, but the last one to write its name has it.
   */
  const refresh = async (each: LocalSession): Promise<void> => {
    const lock = hashOf('refresh', each.key)
    const mine = await sealer.seal(lock, { by: randomUUID() })
    const giveUpAt = now() + 2 * lockSecs * 1_000
    while (now() < giveUpAt) {
      const stored = await read(each.key)
      if (stored === undefined) {
        forget(each, 'it is no longer in the store')
        throw sessionEnded()
      }
      await takeNewer(each, stored)
      if (!hasExpired(each.record)) return
      if ((await store.get(lock)) === undefined) {
        await store.set(lock, mine, lockSecs)
        // A process that has seen no lock, too, writes its own meanwhile.
        await sleep(
          REFRESH_PAUSE_MS + Math.min(4 * store.slowestMs(), REFRESH_PAUSE_MAX_MS),
          undefined,
        )
        if ((await store.get(lock)) === mine) {
          // Another process may have finished between the read and the lock.
          const latest = await read(each.key)
          if (latest !== undefined) await takeNewer(each, latest)
          if (!hasExpired(each.record)) {
            await store.destroy(lock)
            return
          }
          await refreshNow(each, lock, mine)
          return
        }
      }
      await sleep(REFRESH_PAUSE_MS, undefined)
    }
    throw refreshTakesLong()
  }
  /** Never goes back: a store may answer with an old value, and a write may have failed. The refresh token of an old record is a used one. */
  const takeNewer = async (each: LocalSession, stored: SessionRecord): Promise<void> => {
    if (stored.generation >= each.record.generation) each.record = stored
    else await writeRefreshed(each)
  }
  /** Without this record, the other processes only have a used refresh token. */
  const writeRefreshed = async (each: LocalSession): Promise<void> => {
    for (let turn = 1; ; turn++) {
      try {
        return await write(each.key, each.record)
      } catch (error) {
        if (turn < WRITE_TURNS) await sleep(REFRESH_PAUSE_MS, undefined)
        else {
          // The next request writes it again. This process goes on with what it has.
          logger?.error('pg-iam: refreshed tokens could not be stored', {
            session: idOf(each.key),
            error,
          })
          return
        }
      }
    }
  }
  const refreshNow = async (each: LocalSession, lock: string, mine: string): Promise<void> => {
    try {
      const tokens = await provider.refresh(each.record.tokens)
      // The refresh may take longer than a sign-out in another process, which must not be undone.
      if (each.hasEnded || (await store.get(each.key)) === undefined) throw sessionEnded()
      each.record = {
        ...each.record,
        tokens,
        generation: each.record.generation + 1,
      }
      await writeRefreshed(each)
      // A sign-out in another process may have come before the write, which would undo it.
      if ((await store.get(endedKey(each.key))) !== undefined) throw sessionEnded()
    } catch (error) {
      if (isPgIamError(error, 'ERR_SESSION_ENDED')) await destroy(each, error.message)
      throw error
    } finally {
      if ((await store.get(lock)) === mine) await store.destroy(lock)
    }
  }

  /** The tokens of a session, valid now. */
  const freshTokens = async (each: LocalSession): Promise<UserTokens> => {
    requireSession(each)
    if (hasExpired(each.record)) await each.refresh()
    requireSession(each)
    return each.record.tokens
  }

  const identityOf = (each: LocalSession): SignedInIdentity => ({
    issuer,
    subject: each.subject,
    get claims() {
      return each.record.tokens.claims
    },
    idToken: async () => {
      const { idToken, idTokenExpiresAt } = await freshTokens(each)
      if (idTokenExpiresAt > now()) return idToken
      throw new PgIamError(
        'ERR_SIGN_IN_INVALID',
        `${issuer} issued no new ID token when it refreshed the others, and the old one has expired`,
        { hint: 'Let the provider issue ID tokens with refreshes, or with a longer lifetime.' },
      )
    },
    accessToken: async () => (await freshTokens(each)).accessToken,
    exchangeToken: (grantType, parameters) => provider.exchangeToken(grantType, parameters),
  })

  const loginOf = (
    each: LocalSession,
    createLogin: (options: never) => Login,
    options: object,
  ): Login => {
    requireSession(each)
    if (typeof createLogin !== 'function')
      throw invalidOption('provider', 'a function such as redshift', createLogin)
    if (!isPlainObject(options)) throw invalidOption('options', 'an object', options)
    const own = OWN_CREDENTIALS.find((name) => options[name] !== undefined)
    if (own !== undefined) {
      throw new PgIamError(
        'ERR_OPTION_CONFLICT',
        `"${own}" must not be given: the session has credentials of its user`,
      )
    }
    const known = each.logins.find(
      (one) => one.provider === createLogin && isSame(one.options, options),
    )
    if (known !== undefined) return known.login
    each.credentials ??= endedWith(
      () => requireSession(each),
      checkedCredentials(settings.credentials(identityOf(each))),
    )
    const login = createLogin({ ...options, credentials: each.credentials } as never)
    if (internalsOf(login) === undefined)
      throw invalidOption('provider', 'a function that returns a login', createLogin)
    each.logins.push({ provider: createLogin, options: { ...options }, login })
    return login
  }

  const poolOf = (each: LocalSession, login: Login, config: PoolConfig): Pool => {
    requireSession(each)
    if (!isPlainObject(config)) throw invalidOption('config', 'an object', config)
    if (!each.logins.some((one) => one.login === login))
      throw invalidOption('login', 'a login of this session', login)
    const known = each.pools.find(
      (one) => one.login === login && !one.pool.isClosed() && isSame(one.config, config),
    )
    if (known !== undefined) return known.pool.pool
    const pool = pools.create(hashOf('user', issuer, each.subject), login, config)
    each.pools = each.pools.filter((one) => !one.pool.isClosed())
    if (each.pools.length === MANY_POOLS) {
      process.emitWarning(
        `one session has ${MANY_POOLS} pools. Give session.pool() the same functions and objects each time, which share a pool.`,
        { type: 'PgIamWarning', code: 'PG_IAM_MANY_POOLS' },
      )
    }
    each.pools.push({ login, config: { ...config }, pool })
    return pool.pool
  }

  const sessionOf = (each: LocalSession): Session => {
    const { record, key } = each
    const { tokens, signedInAt } = record
    return {
      id: idOf(key),
      issuer,
      subject: tokens.subject,
      // A copy: what one request changes is not for the others.
      claims: structuredClone(tokens.claims),
      signedInAt: new Date(signedInAt),
      expiresAt: new Date(endsAt(record)),
      idleExpiresAt: new Date(
        Math.min((touched.get(key) ?? now()) + limits.idleSecs * 1_000, endsAt(record)),
      ),
      tokensExpireAt: new Date(tokens.expiresAt),
      login: (createLogin, options) => loginOf(each, createLogin, options),
      pool: (login, config = {}) => poolOf(each, login, config),
    }
  }

  /** The last time that the store was told of a use, by key. */
  const touched = new Map<string, number>()
  const touch = async (key: string): Promise<void> => {
    const before = touched.get(key)
    const sinceMs = now() - (before ?? -Infinity)
    // A clock that was put back makes it negative.
    if (sinceMs >= 0 && sinceMs < Math.min(TOUCH_MS, limits.idleSecs * 100)) return
    touched.delete(key)
    touched.set(key, now())
    if (touched.size > TOUCHED_SESSIONS) touched.delete(touched.keys().next().value!)
    await store.touch(usedKey(key), limits.idleSecs)
  }

  return {
    async create(tokens) {
      const cookie = randomBytes(32).toString('base64url')
      const key = keyOf(cookie)
      await Promise.all([write(key, { tokens, signedInAt: now(), generation: 0 }), markInUse(key)])
      logger?.info('pg-iam: a user has signed in', { session: idOf(key), subject: tokens.subject })
      return cookie
    },

    async load(cookie) {
      if (isClosed) throw new PgIamError('ERR_CLOSED', 'the sign-in was closed')
      const key = keyOf(cookie)
      const [record, used] = await Promise.all([read(key), store.get(usedKey(key))])
      if (record === undefined || used === undefined) {
        const known = held.get(key)
        if (known !== undefined) forget(known, 'it is no longer in the store')
        if (record !== undefined) await erase(key)
        return undefined
      }
      const each = hold(key, record)
      if (record.generation < each.record.generation) await writeRefreshed(each)
      if (secondsLeft(record) <= 0 || (await wasEnded(key, record))) {
        await destroy(each, secondsLeft(record) <= 0 ? 'its time is over' : 'it was ended')
        return undefined
      }
      if (hasExpired(each.record) && now() >= each.refreshAfter) {
        try {
          // A process that was killed in a refresh keeps the others waiting until its lock expires.
          const waitMs = Math.min(limits.requestTimeoutMs, LOAD_MS)
          await withTimeout(each.refresh(), waitMs, refreshTakesLong)
        } catch (error) {
          if (isPgIamError(error, 'ERR_SESSION_ENDED')) {
            await destroy(each, error.message)
            return undefined
          }
          // The user is still signed in. Only what needs a new token fails. Not each request waits for a provider that does not answer.
          each.refreshAfter = now() + REFRESH_AGAIN_MS
          logger?.warn('pg-iam: the tokens of a session could not be refreshed', {
            session: idOf(key),
            error,
          })
        }
      }
      await touch(key)
      return each.hasEnded ? undefined : sessionOf(each)
    },

    async end(cookie) {
      const key = keyOf(cookie)
      const known = held.get(key)
      if (known !== undefined) forget(known, 'the user has signed out')
      const record = await read(key)
      if (record === undefined) return undefined
      // Erased first, so that a full store has room for the note, and again, in case that a refresh has written it in between. The note is
      // there for as long as the session could be, until it is certain that it is not.
      // If that fails, the note ends the session nonetheless, and the second attempt reports it.
      await erase(key).catch(() => {})
      const note = endedKey(key)
      await store.set(
        note,
        await sealer.seal(note, { until: now() }),
        Math.max(ENDED_NOTE_SECS, secondsLeft(record)),
      )
      await erase(key)
      await store.touch(note, ENDED_NOTE_SECS)
      return record.tokens
    },

    async endAll({ subject, sid, until }) {
      // With both, the provider ends the session `sid` of this user (OpenID Connect Back-Channel Logout 1.0, section 2.7), which may be one
      // of those whose ID token named none.
      const notes =
        sid === undefined
          ? [noteKey('sub', subject ?? '')]
          : [
              noteKey('sid', sid),
              ...(subject === undefined ? [] : [noteKey('sub without sid', subject)]),
            ]
      for (const note of notes) {
        // Notices may arrive in another order.
        const latest = Math.max(until, await endOf(note))
        await store.set(note, await sealer.seal(note, { until: latest }), limits.sessionSecs)
      }
      const isMeant = (each: LocalSession): boolean =>
        sid === undefined || each.sid === undefined ? each.subject === subject : each.sid === sid
      await Promise.all(
        [...held.values()]
          .filter((each) => isMeant(each) && each.record.signedInAt <= until)
          .map((each) => destroy(each, 'the provider, or the user, has ended it')),
      )
    },

    wasUsed: async (name) => (await store.get(hashOf('used', issuer, name))) !== undefined,

    async markUsed(name, ttlSecs) {
      const key = hashOf('used', issuer, name)
      await store.set(key, await sealer.seal(key, {}), ttlSecs)
    },

    async close() {
      isClosed = true
      clearInterval(sweep)
      for (const each of held.values()) {
        each.hasEnded = true
        for (const { login } of each.logins) internalsOf(login)?.end(sessionEnded())
      }
      held.clear()
      // Transactions may finish. A client that is never given back must not keep the application from ending.
      await Promise.race([pools.close(), pause(CLOSE_MS, undefined, { ref: false })])
    },
  }
}

/** How long transactions may take to finish when the application closes. */
const CLOSE_MS = 10_000
/** How often sessions that have expired are looked for. */
const DROP_EVERY_MS = 60_000
/** The number of sessions whose last use is remembered. */
const TOUCHED_SESSIONS = 10_000
const TOUCH_MS = 60_000
/** Tokens are refreshed before they expire, in milliseconds. */
const REFRESH_BEFORE_MS = 30_000
const REFRESH_AGAIN_MS = 5_000
/** Metadata, tokens and keys of the provider, and one for the store. */
const REFRESH_REQUESTS = 4
/** Longer than a refresh takes, with the time limits of its requests. */
const ENDED_NOTE_SECS = 600
const REFRESH_PAUSE_MS = 50
const REFRESH_PAUSE_MAX_MS = 2_000
const WRITE_TURNS = 3
/** How long a request waits for a refresh, before it goes on with the tokens that there are. */
const LOAD_MS = 5_000
const MANY_POOLS = 50

function refreshTakesLong(): PgIamError {
  return new PgIamError(
    'ERR_SIGN_IN_UNAVAILABLE',
    'the refresh of the tokens of this session takes too long',
    { retryable: true },
  )
}

const OWN_CREDENTIALS = [
  'credentials',
  'customCredentialsProvider',
  'profile',
  'assumeRole',
] as const

function checkedCredentials(given: unknown): ReturnType<IdentityCredentials> {
  const { getToken } = (given ?? {}) as { getToken?: unknown }
  if (typeof given === 'function' || typeof getToken === 'function')
    return given as ReturnType<IdentityCredentials>
  throw invalidSecret(
    'credentials',
    'a function that returns the credentials of a login: a function, or an object with getToken',
    given,
  )
}

/** Credentials that are no longer given when the session has ended. */
function endedWith(
  check: () => void,
  credentials: ReturnType<IdentityCredentials>,
): ReturnType<IdentityCredentials> {
  if (typeof credentials === 'function') {
    return async (options) => {
      check()
      const given = await credentials(options)
      check()
      return given
    }
  }
  return {
    async getToken(...parameters) {
      check()
      const given = await credentials.getToken(...parameters)
      check()
      return given
    },
  }
}

function sidOf({ claims }: UserTokens): string | undefined {
  const { sid } = claims as { sid?: unknown }
  return typeof sid === 'string' ? sid : undefined
}

/** Whether both have the same values. Objects of classes are compared by identity: their private fields cannot be seen. */
function isSame(one: unknown, other: unknown): boolean {
  if (Object.is(one, other)) return true
  if (Array.isArray(one) && Array.isArray(other))
    return one.length === other.length && one.every((each, index) => isSame(each, other[index]))
  if (!isPlainObject(one) || !isPlainObject(other)) return false
  const keys = Object.keys(one)
  return (
    keys.length === Object.keys(other).length &&
    keys.every((key) => Object.hasOwn(other, key) && isSame(one[key], other[key]))
  )
}

function idOf(key: string): string {
  return key.slice(0, 12)
}

function hashOf(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
}
