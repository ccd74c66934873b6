/** Serves one client connection, from its first byte to its end. */
import { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { PgIamError } from '../../core/errors.js'
import { errorResponse, ServerError } from '../../wire/error-response.js'
import { invalidOption } from '../../core/options/check.js'
import { PacketReader, isWhole } from '../../wire/framing.js'
import {
  authenticationOk,
  backendKeyData,
  FrontendType,
  negotiateProtocolVersion,
} from '../../wire/messages.js'
import { PROTOCOL_3 } from '../../wire/startup.js'
import { methodOf } from '../auth/methods.js'
import {
  fatal,
  POSTGRES_ERRORS,
  type ProviderErrors,
  refusal,
  type Refusal,
  refusalOf,
  refused,
} from '../auth/refusal.js'
import type { AcceptedLogin, ClientCertificate, LoginClient } from '../auth/verifier.js'
import type { Engine, EngineSession, SessionRequest } from '../engines/engine.js'
import { NO_ENGINE } from '../engines/no-engine.js'
import {
  type ConnectionAuth,
  type ConnectionSettings,
  connectionSettings,
  type ConnectionState,
  type ConnectionTls,
  type HandleConnectionOptions,
  isEngine,
} from './connection-options.js'
import type { SessionRewriter } from './session-rewriter.js'
import { createDeadline, type Deadline } from './limits.js'
import { isHidden, withoutText } from '../auth/refusal.js'
import { checkedReply, errorOfHook } from './message-hooks.js'
import { cancelKeys, closeGently, leaveSession, type Relay, startRelay } from './relay.js'
import {
  cancelKeyIn,
  parseStartup,
  readOpening,
  readPacketWithinTls,
  type StartupRequest,
  violation,
} from './startup.js'
import { serverEndPoint } from './tls.js'

/** A connection that is served by `handleConnection`. */
export interface ServerConnection {
  /** What is known about the connection. */
  readonly state: ConnectionState
  /**
   * Resolves when the connection is closed or detached and its session has ended: with the error that ended it, or with `undefined` if the
   * client ended it. Never rejects.
   */
  readonly closed: Promise<Error | undefined>
  /**
   * Sends whole messages to a client in its session, such as a notification, after the message that is being sent. Does nothing before the
   * session and after its end.
   *
   * @throws PgIamError `ERR_OPTION_INVALID` for bytes that are not whole messages
   */
  send(messages: Uint8Array): void
  /**
   * Sends an error that does not end the connection, after the message that is being sent. The client shows it as the error of its running
   * statement, if there is one.
   */
  sendError(error: ErrorToSend): void
  /**
   * Ends the connection. With an error, the client gets it first, as a FATAL one, if it is at a message boundary. Does nothing if the
   * connection has ended.
   */
  end(error?: ErrorToSend): void
  /** As `end`, but a session first completes its running statement and its open transaction. */
  drain(error: ErrorToSend): void
  /**
   * Gives the stream to the caller: the one that was passed to `handleConnection`, or after `onTlsUpgrade` the decrypted one. It begins
   * with the first byte that was not passed to a hook, is paused, and has no listeners left. The session ends, and nothing more is sent.
   *
   * @throws PgIamError Rejects with `ERR_OPTION_CONFLICT` outside of a hook that precedes the session, and outside of `onMessage`.
   */
  detach(): Promise<Duplex>
}

/** An error for a client. Without an SQLSTATE it is XX000, an internal error. */
export interface ErrorToSend {
  /** The SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html */
  readonly code?: string | undefined
  /** The SQLSTATE under another name, which takes precedence. */
  readonly sqlState?: string | undefined
  readonly message: string
  readonly detail?: string | undefined
  readonly hint?: string | undefined
}

/**
 * Serves PostgreSQL's protocol on one stream that the caller accepted: TLS, authentication and the session, on an engine, by hooks, or both.
 * A connection never throws and never rejects: what goes wrong ends it, and is the result of `closed`.
 *
 * Exported from `'pg-iam/gateway'`.
 *
 * @param stream a `net.Socket`, a `tls.TLSSocket` or any other `Duplex` of bytes
 * @throws PgIamError `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT` for invalid, unknown or missing options.
 */
export function handleConnection(
  stream: Duplex,
  options: HandleConnectionOptions = {},
): ServerConnection {
  if (!(stream instanceof Duplex))
    throw invalidOption('stream', 'a net.Socket or another Duplex', stream)
  return new Connection(stream, connectionSettings(options))
}

function notPostgresql(secured: TLSSocket): Error {
  secured.destroy()
  return violation('direct TLS without the ALPN protocol "postgresql"')
}

/** What unwinds a login after `detach()` or `end()`. */
const OVER = new Error('the connection was ended or detached')

/** The client has closed its connection during its login. */
class ClientLeft extends Error {
  constructor(options?: ErrorOptions) {
    super('the client has closed its connection', options)
  }
}

/** The state, as this module changes it. */
type MutableState = { -readonly [Key in keyof ConnectionState]: ConnectionState[Key] }

class Connection implements ServerConnection {
  readonly state: ConnectionState
  readonly closed: Promise<Error | undefined>
  readonly #state: MutableState
  readonly #settings: ConnectionSettings
  readonly #plain: Duplex
  /** The stream that the protocol is spoken on: `#plain`, or the decrypted one. */
  #stream: Duplex
  #request: StartupRequest | undefined
  #auth: ConnectionAuth | undefined
  #relay: Relay | undefined
  /** How many hooks run that may call `detach`. */
  #hooks = 0
  #isOver = false
  /** The error of `end()`, before the session. */
  #reason: Error | undefined
  /** The TLS socket that the protocol is spoken on, or within. */
  #secured: TLSSocket | undefined
  /** Whether the TLS handshake runs, which bytes of the server's would disturb. */
  #isSecuring = false
  #leave: (() => void) | undefined
  /** Resolves when the plain stream has closed, or was detached. */
  readonly #left: Promise<void>
  readonly #releases: (() => void)[] = []

  constructor(stream: Duplex, settings: ConnectionSettings) {
    this.#plain = this.#stream = stream
    this.#settings = settings
    this.#secured = settings.securedBy
    this.#state = {
      phase: 'startup',
      tls: this.#secured && tlsStateOf(this.#secured, 'direct'),
      startup: undefined,
      authenticated: false,
      identity: undefined,
      session: undefined,
      remoteAddress: (this.#secured ?? (stream as { remoteAddress?: string })).remoteAddress,
    }
    this.state = this.#state
    this.#left = new Promise((resolve) => (this.#leave = resolve))
    if (stream.destroyed) this.#closed()
    // The protocol exchanges small messages in turn. Nagle's algorithm would delay each by 40 ms.
    ;(stream as Partial<Socket>).setNoDelay?.(true)
    stream.on('error', this.#failed).once('close', this.#closed)
    this.closed = this.#serve()
  }

  // Errors are handled where the stream is read. Without a listener, they would end the process.
  readonly #failed = (error: Error): void =>
    this.#settings.logger.debug('gateway: a connection failed', { error })

  readonly #closed = (): void => {
    if (this.#state.phase !== 'detached') this.#state.phase = 'closed'
    this.#leave?.()
  }

  async #serve(): Promise<Error | undefined> {
    const { logger } = this.#settings
    let reason: Error | undefined
    try {
      const relay = await this.#admit()
      reason = relay instanceof Error ? relay : await relay?.ended
    } catch (error) {
      // A safeguard: an internal error must not end the process of the caller.
      logger.error('gateway: a connection failed', { error })
      reason = error as Error
      this.#plain.destroy()
    }
    for (const release of this.#releases.splice(0)) release()
    const { startup, session } = this.#state
    if (session !== undefined)
      logger.debug('gateway: a session ended', {
        role: startup?.user,
        ...session,
        ...(reason && { reason }),
      })
    await this.#left
    return reason
  }

  /** Logs the client in and opens its session. Returns an error if it was refused, and `undefined` if it has left or was detached. */
  async #admit(): Promise<Relay | Error | undefined> {
    const { limits, loginTimeoutMs, logger } = this.#settings
    const deadline = createDeadline(loginTimeoutMs)
    const loggedIn = limits.logins.begin(() => deadline.cut(() => this.#tooManyLogins()))
    void this.#left.then(() => deadline.cut(() => new ClientLeft()))
    try {
      return await deadline.race(this.#logIn(deadline, loggedIn), () => this.#timedOut())
    } catch (error) {
      if (this.#isOver) return this.#reason
      this.#isOver = true
      const refusedWith = refusalOf(error)
      if (refusedWith !== undefined) return this.#refuse(refusedWith)
      logger.debug('gateway: a client disconnected during its login', { error })
      this.#plain.destroy()
      return error as Error
    } finally {
      deadline.clear()
      loggedIn()
    }
  }

  /** @param loggedIn to be called when the client is no longer a pending login */
  async #logIn(deadline: Deadline, loggedIn: () => void): Promise<Relay | undefined> {
    const packet = await this.#readFirstPacket()
    const key = cancelKeyIn(packet)
    if (key !== undefined) {
      const isDelivered = cancelKeys.cancel(key.processId, key.secretKey)
      this.#notify(() => this.#settings.onCancelRequest?.({ ...key, isDelivered }))
      this.#isOver = true
      this.#plain.destroy()
      return undefined
    }
    const request = (this.#request = parseStartup(packet))
    const { role: user, database, parameters, protocolVersion } = request
    this.#state.startup = { user, database, parameters, protocolVersion }
    const { requireTls } = this.#settings
    if (requireTls && this.#state.tls === undefined) throw await this.#tlsRequired()
    const { onStartup } = this.#settings
    const answer = await this.#hook(() => onStartup?.(this.state))
    // As pg-gateway's hook may.
    if (answer === true)
      throw hookRefused(new TypeError('"onStartup" returned true: call detach() to take over'))
    const auth = (this.#auth = await this.#chooseAuth())
    // This error is sent before authentication, as PostgreSQL does.
    const seats = [auth.limits, this.#settings.limits].flatMap((each) => each?.seats ?? [])
    if (seats.some((each) => !each.isAvailable)) throw this.#tooManyConnections()
    this.#state.phase = 'authentication'
    const login = await this.#authenticate(auth, request)
    this.#state.authenticated = true
    this.#state.identity = login.identity
    await this.#call(this.#settings.onAuthenticated)
    loggedIn()
    deadline.extend(seats.reduce((sum, each) => sum + each.queueTimeoutMs, 0))
    const taken: (() => void)[] = []
    const leaveSeats = (): void => taken.splice(0).forEach((leave) => leave())
    try {
      for (const each of seats) {
        const leave = await each.take(this.#left)
        if (leave === undefined) throw this.#tooManyConnections()
        taken.push(leave)
        if (this.#isOver) throw OVER
      }
      return await this.#openSession(request, leaveSeats)
    } catch (error) {
      leaveSeats()
      throw error
    }
  }

  async #readFirstPacket(): Promise<Buffer> {
    const { tls } = this.#settings
    const opening = await this.#going(readOpening(this.#plain, tls !== undefined))
    if (opening instanceof Buffer) return opening
    this.#isSecuring = true
    const secured = await this.#going(tls!.upgrade(this.#plain))
    this.#isSecuring = false
    // ALPN distinguishes PostgreSQL clients from other TLS clients, such as browsers. PostgreSQL requires it too.
    const isOther = opening === 'direct-tls' && secured.alpnProtocol !== 'postgresql'
    if (isOther && !this.#settings.servesOtherProtocols) throw notPostgresql(secured)
    this.#stream = this.#secured = secured
    secured.on('error', this.#failed)
    this.#state.tls = tlsStateOf(secured, opening === 'direct-tls' ? 'direct' : 'postgres')
    await this.#call(this.#settings.onTlsUpgrade)
    if (isOther) throw notPostgresql(secured)
    return this.#going(readPacketWithinTls(secured))
  }

  async #chooseAuth(): Promise<ConnectionAuth> {
    const { auth } = this.#settings
    return this.#internalHook(async () => {
      const chosen = typeof auth === 'function' ? await auth(this.state) : auth
      return methodOf(chosen, this.#settings, this.state)
    })
  }

  async #authenticate(
    auth: ConnectionAuth,
    { role, database, parameters, needsNegotiation, unknownOptions }: StartupRequest,
  ): Promise<AcceptedLogin> {
    if (needsNegotiation) this.#stream.write(negotiateProtocolVersion(PROTOCOL_3, unknownOptions))
    const asked = { role, database, servername: this.#state.tls?.serverName, parameters }
    const decide = async (): Promise<AcceptedLogin> => {
      const verdict = await auth.authenticate(asked, this.#loginClient())
      if ('refused' in verdict) throw refused(verdict.refused)
      const { identity, token } = verdict.accepted
      return { identity, token }
    }
    return this.#asHook(decide())
  }

  #loginClient(): LoginClient {
    const stream = this.#stream
    const secured = this.#secured
    return {
      ask: async (request) => {
        await this.#going(undefined)
        stream.write(request)
        for (;;) {
          const answer = await readAnswer(stream).catch((error: unknown) => {
            throw refusalOf(error) === undefined ? new ClientLeft({ cause: error }) : error
          })
          if (!(await this.#isAnsweredByHook(answer))) return answer.subarray(5)
        }
      },
      tell: (message) => void (this.#isOver || stream.write(message)),
      channelBinding: () => secured && serverEndPoint(secured),
      certificate: () => secured && certificateOf(secured),
    }
  }

  /** Passes a message of the login to `onMessage`. */
  async #isAnsweredByHook(message: Buffer): Promise<boolean> {
    const { onMessage } = this.#settings
    const reply = await this.#hook(() => onMessage?.(message, this.state))
    if (reply === undefined) return false
    checkedReply(reply)
    if (reply instanceof Uint8Array) this.#stream.write(reply)
    else for await (const bytes of reply) (await this.#going(this.#stream)).write(bytes)
    return true
  }

  async #openSession(
    { role: user, database, parameters }: StartupRequest,
    leaveSeats: () => void,
  ): Promise<Relay> {
    const { engine = NO_ENGINE, role, onMessage, onReply, limits, logger } = this.#settings
    const chosen =
      typeof engine === 'function' ? await this.#internalHook(() => engine(this.state)) : engine
    if (!isEngine(chosen))
      throw engineRefused(new TypeError('the option "engine" returned no engine'))
    const own = await this.#internalHook(() => role?.(this.state) ?? user)
    const rules = this.#auth?.rules
    const wanted = rules?.startup(parameters) ?? parameters
    if (wanted instanceof ServerError)
      throw refused(refusal('setting-refused', `the startup packet: ${wanted.message}`, wanted))
    const session = await openedSession(chosen, { role: own, database, parameters: wanted })
    if (this.#isOver || this.#stream.destroyed) {
      leaveSession(session)
      throw this.#isOver ? OVER : new ClientLeft()
    }
    const { processId } = session
    const key = cancelKeys.issue(processId, () => {
      session.cancel()
      this.#notify(() => this.#settings.onCancel?.(this.state))
    })
    this.#releases.push(() => key.release(), leaveSeats)
    this.#state.session = { processId }
    this.#state.phase = 'session'
    let rewriter: SessionRewriter | undefined
    try {
      rewriter = this.#settings.rewrite?.(this.state)
      this.#logRejection(this.#settings.onSession?.(this.state))
      if (this.#isOver) throw OVER
    } catch (error) {
      leaveSession(session)
      throw error === OVER ? error : hookRefused(error)
    }
    this.#isOver = true
    logger.debug('gateway: accepted a login', {
      role: user,
      ...(this.#auth?.provider && { provider: this.#auth.provider }),
      identity: this.#state.identity,
      processId,
      applicationName: parameters.get('application_name'),
    })
    this.#relay = startRelay(this.#stream, session, {
      greeting: Buffer.concat([authenticationOk(), backendKeyData(processId, key.secretKey)]),
      buffers: limits.buffers,
      rewriter: withRules(rules?.session(), rewriter),
      onMessage: onMessage && ((message) => this.#watched(() => onMessage(message, this.state))),
      onReply: onReply && ((message) => onReply(message, this.state)),
      parameters: this.#settings.parameters,
    })
    return this.#relay
  }

  // Refusals.

  #refuse({ reason, explanation, told }: Refusal): Error {
    const { onRefused, logger } = this.#settings
    const { startup, tls } = this.#state
    const error = told && { sqlState: told.sqlState, message: told.message }
    this.#notify(() => onRefused?.({ reason, explanation, error }, this.state))
    logger.warn(`gateway: refused a login: ${explanation}`, {
      reason,
      ...(startup && { role: startup.user, database: startup.database }),
      servername: tls?.serverName,
      remotePort: (this.#plain as { remotePort?: number }).remotePort,
    })
    if (told === undefined) {
      this.#plain.destroy()
      return new Error(explanation)
    }
    this.#stream.write(errorResponse(told))
    closeGently(this.#stream)
    return told
  }

  get #errors(): ProviderErrors {
    return this.#auth?.errors ?? POSTGRES_ERRORS
  }

  /** A client that has not sent its startup packet gets no error, because it is probably not a PostgreSQL client. */
  #timedOut(): Error {
    const told = this.#request && fatal('57014', 'canceling authentication due to timeout')
    return refused(refusal('login-timeout', 'the login took longer than "loginTimeoutMs"', told))
  }

  #tooManyLogins(): Error {
    const explanation =
      'it was the oldest of more than "maxPendingLogins" connections that had not logged in'
    const told = this.#request && this.#errors.tooManyConnections()
    return refused(refusal('too-many-logins', explanation, told))
  }

  #tooManyConnections(): Error {
    const explanation = 'the limit "maxConnections" is reached'
    return refused(refusal('too-many-connections', explanation, this.#errors.tooManyConnections()))
  }

  async #tlsRequired(): Promise<Error> {
    this.#auth = await this.#chooseAuth()
    const { user, database } = this.#state.startup!
    const address = this.#state.remoteAddress ?? ''
    const told = this.#errors.tlsRequired({ role: user, database, address })
    return refused(refusal('tls-required', 'the client started its login without TLS', told))
  }

  // Hooks.

  async #call(hook: ((state: ConnectionState) => unknown) | undefined): Promise<void> {
    if (hook !== undefined) await this.#hook(() => hook(this.state))
  }

  /** Runs a hook whose errors are not for the client, unless they have an SQLSTATE. */
  async #internalHook<T>(call: () => T | PromiseLike<T>): Promise<T> {
    return this.#hook(async () => {
      try {
        return await call()
      } catch (error) {
        throw refusalOf(error) === undefined ? withoutText(error) : error
      }
    })
  }

  /** Runs a hook whose errors are only logged. */
  #notify(call: () => unknown): void {
    try {
      this.#logRejection(call())
    } catch (error) {
      this.#settings.logger.error('gateway: a hook failed', { error })
    }
  }

  #logRejection(result: unknown): void {
    Promise.resolve(result).catch((error: unknown) =>
      this.#settings.logger.error('gateway: a hook failed', { error }),
    )
  }

  /** Runs `onMessage` in the session. An error after `detach()` must not be lost, because the client would wait forever. */
  #watched<T>(call: () => T | PromiseLike<T>): T | PromiseLike<T> {
    const result = this.#inHook(call)
    if (typeof (result as Partial<PromiseLike<T>> | undefined)?.then !== 'function') return result
    return Promise.resolve(result).catch((error: unknown) => {
      this.#failedAfterDetach(error)
      throw error
    })
  }

  #failedAfterDetach(error: unknown): void {
    if (this.#state.phase !== 'detached') return
    this.#settings.logger.error('gateway: a hook failed after detach()', { error })
    this.#stream.destroy()
  }

  /** Runs a hook before the session. What it throws refuses the login. Throws `OVER` if it has ended or detached the connection. */
  async #hook<T>(call: () => T | PromiseLike<T>): Promise<T> {
    return this.#asHook((async () => this.#inHook(call))())
  }

  async #asHook<T>(work: Promise<T>): Promise<T> {
    try {
      return await this.#going(work)
    } catch (error) {
      if (error !== OVER) this.#failedAfterDetach(error)
      if (error === OVER || error instanceof ClientLeft || refusalOf(error) !== undefined)
        throw error
      throw hookRefused(error)
    }
  }

  /** Allows `detach` while the hook runs. */
  #inHook<T>(call: () => T | PromiseLike<T>): T | PromiseLike<T> {
    this.#hooks++
    const finished = (): void => void this.#hooks--
    let result: T | PromiseLike<T>
    try {
      result = call()
    } catch (error) {
      finished()
      throw error
    }
    if (typeof (result as Partial<PromiseLike<T>> | undefined)?.then !== 'function') {
      finished()
      return result
    }
    const pending = Promise.resolve(result)
    pending.then(finished, finished)
    return pending
  }

  /** Settles as `work` does, unless the connection was ended or detached meanwhile. */
  async #going<T>(work: T | PromiseLike<T>): Promise<T> {
    const result = await work
    if (this.#isOver) throw OVER
    return result
  }

  // What the caller can do.

  send(messages: Uint8Array): void {
    const bytes = Buffer.from(messages)
    if (!isWhole(bytes)) throw invalidOption('messages', 'whole messages', messages)
    this.#relay?.send(bytes)
  }

  sendError(error: ErrorToSend): void {
    const told = toServerError(error, false)
    if (this.#relay !== undefined) this.#relay.send(errorResponse(told))
    else if (!this.#isOver && !this.#isSecuring && this.#stream.writable)
      this.#stream.write(errorResponse(told))
  }

  end(error?: ErrorToSend): void {
    if (this.#relay !== undefined) {
      this.#relay.terminate(
        error === undefined
          ? fatal('57P01', 'terminating connection due to administrator command')
          : toServerError(error, true),
      )
      return
    }
    if (this.#isOver) return
    this.#isOver = true
    const told = error && toServerError(error, true)
    this.#reason = told
    if (told === undefined || this.#isSecuring) {
      this.#plain.destroy()
      return
    }
    this.#stream.write(errorResponse(told))
    closeGently(this.#stream)
  }

  drain(error: ErrorToSend): void {
    if (this.#relay === undefined) this.end(error)
    else this.#relay.drain(toServerError(error, true))
  }

  async detach(): Promise<Duplex> {
    if (this.#hooks === 0 || this.#state.phase === 'closed' || this.#state.phase === 'detached')
      throw new PgIamError('ERR_OPTION_CONFLICT', 'detach() must be called in a hook', {
        hint: 'Call it in onTlsUpgrade, onStartup, onAuthenticated or onMessage, and wait for its result there.',
      })
    // The unread bytes could not be put back.
    if (this.#stream.readableEnded)
      throw new PgIamError('ERR_OPTION_CONFLICT', 'detach() was called after the client had left')
    this.#isOver = true
    this.#state.phase = 'detached'
    this.#relay?.detach()
    this.#plain.off('error', this.#failed).off('close', this.#closed)
    this.#stream.off('error', this.#failed)
    this.#leave?.()
    return this.#stream
  }
}

function toServerError(error: ErrorToSend, isFatal: boolean): ServerError {
  return errorOfHook(error, isFatal)
}

function tlsStateOf(secured: TLSSocket, negotiation: ConnectionTls['negotiation']): ConnectionTls {
  const { servername, alpnProtocol } = secured as TLSSocket & { servername?: string | false }
  const hasCertificate = secured.getPeerX509Certificate() !== undefined
  return {
    serverName: servername || undefined,
    negotiation,
    alpn: alpnProtocol || undefined,
    authorized: secured.authorized,
    peerCertificate: hasCertificate ? secured.getPeerCertificate() : undefined,
  }
}

function certificateOf(socket: TLSSocket): ClientCertificate | undefined {
  if (socket.getPeerX509Certificate() === undefined) return undefined
  const certificate = socket.getPeerCertificate()
  const name: unknown = certificate.subject.CN
  const commonName: unknown = Array.isArray(name) ? name[0] : name
  // On the server side, this is OpenSSL's error code, although its type is Error.
  const fault = socket.authorized ? undefined : String(socket.authorizationError ?? 'unknown')
  return {
    certificate,
    commonName: typeof commonName === 'string' ? commonName : undefined,
    fault,
  }
}

/** Reads one response. The limit is far above the size of tokens: with a session token they have about 2 kB. */
async function readAnswer(stream: Duplex): Promise<Buffer> {
  const reader = new PacketReader(stream)
  const header = await reader.read(5)
  const type = header[0]!
  if (type !== FrontendType.password)
    throw answerViolation(`expected password response, got message type ${type}`)
  const length = header.readInt32BE(1) - 4
  if (length < 0 || length > MAX_ANSWER_BYTES) throw answerViolation('invalid password packet size')
  return Buffer.concat([header, await reader.read(length)])
}

const MAX_ANSWER_BYTES = 65_536

function answerViolation(explanation: string): Error {
  return refused(refusal('protocol-violation', explanation, fatal('08P01', explanation)))
}

function hookRefused(error: unknown): Error {
  const told = errorOfHook(error, true)
  const { cause } = Object(error) as { cause?: unknown }
  const reason = isHidden(error) && cause instanceof Error ? cause.message : told.message
  return refused(refusal('hook-refused', `a hook failed: ${reason}`, told))
}

/** The rules are next to the client. The other rewriter, with the faults, is next to the engine. */
function withRules(
  rules: SessionRewriter | undefined,
  rewriter: SessionRewriter | undefined,
): SessionRewriter | undefined {
  if (rules === undefined || rewriter === undefined) return rules ?? rewriter
  return {
    toEngine(messages) {
      const allowed = rules.toEngine(messages)
      return allowed === undefined || allowed.length === 0 ? allowed : rewriter.toEngine(allowed)
    },
    toClient(chunk) {
      const inner = rewriter.toClient(chunk)
      const outer = rules.toClient(inner.bytes)
      const own = outer.toEngine === undefined ? undefined : rewriter.toEngine(outer.toEngine)
      const isCut =
        inner.isCut || outer.isCut || (outer.toEngine !== undefined && own === undefined)
      return { bytes: outer.bytes, isCut, toEngine: own }
    },
    get heldBytes() {
      return rules.heldBytes ?? 0
    },
    ...(rules.whenIdle && { whenIdle: (call: () => void) => rules.whenIdle!(call) }),
  }
}

async function openedSession(engine: Engine, request: SessionRequest): Promise<EngineSession> {
  try {
    const session = (await engine.openSession(request)) as Partial<EngineSession> | undefined
    if (Number.isInteger(session?.processId)) return session as EngineSession
    throw new TypeError('it is no stream with a process ID')
  } catch (error) {
    throw engineRefused(error)
  }
}

/** An engine may throw any error. Only errors with an SQLSTATE are passed to the client. */
function engineRefused(error: unknown): Error {
  if (refusalOf(error) !== undefined) return error as Error
  const told = errorOfHook(error, true)
  const explanation = `the engine opened no session: ${told.message}`
  const hidden = fatal('58000', 'the engine of the gateway could not open a session')
  return refused(refusal('engine-refused', explanation, told.sqlState === 'XX000' ? hidden : told))
}
