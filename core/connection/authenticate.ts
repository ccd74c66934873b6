/** Authenticates to a PostgreSQL server with a token as the password. */
import type { Duplex } from 'node:stream'
import { bodyFlaw, headerFlaw } from '../../wire/backend-structure.js'
import { errorFields } from '../../wire/error-response.js'
import { ProtocolViolation } from '../../wire/framing.js'
import { AuthenticationRequest, BackendType, HEADER_BYTES } from '../../wire/messages.js'
import {
  createPasswordClient,
  ScramFailure,
  UnsupportedMethod,
} from '../../wire/password-client.js'
import { isPgIamError, PgIamError } from '../errors.js'
import { protocolError } from './backend-tracker.js'

/** The inputs of the authentication, which pg-iam does in place of the driver. */
interface Authentication {
  socket: Duplex
  /** The client's startup packet. */
  startup: Buffer
  user: string
  password: string
  /** Whether it is an ordinary password, so that the server may also request SCRAM. Default `false`: it is a token. */
  isOrdinaryPassword?: boolean
  /** Returns the hint for a rejected login. Only used if the server's error has no hint. */
  explainRefusal?: (refusal: Refusal) => string | undefined
}

/** The error with which a server rejects a login. */
export interface Refusal {
  readonly sqlState: string
  readonly message: string
  readonly user: string
}

interface Authenticated {
  /** The messages for the driver: from `AuthenticationOk` on, or the error that rejects the login. */
  received: Buffer
  /** The SQLSTATE of that error. */
  refusedWith?: string
}

/**
 * Sends the startup packet and answers the server's password request. Resolves when the server is ready for a query, or has rejected the
 * login.
 *
 * It does not resolve earlier: if a server closed the connection in between, Postgres.js would reconnect in an endless loop without a
 * pause.
 *
 * Rejects with `ERR_LOGIN_REJECTED` if the server requests an authentication method that tokens do not support, and with `ERR_PROTOCOL` for
 * a malformed or unexpected message, or a login of more than 30,000 bytes.
 */
export function authenticate({
  socket,
  startup,
  user,
  password,
  isOrdinaryPassword: isOrdinary = false,
  explainRefusal = () => undefined,
}: Authentication): Promise<Authenticated> {
  return new Promise((resolve, reject) => {
    // A server that requests SCRAM does not accept a token.
    const methods = isOrdinary ? ORDINARY_METHODS : TOKEN_METHODS
    const client = createPasswordClient({ user, password, methods })
    const forDriver: Buffer[] = []
    let pending: Buffer = Buffer.alloc(0)
    let loginBytes = 0
    let refusedWith: string | undefined
    let isAuthenticated = false
    let isReady = false
    const settle = (): void => {
      socket.off('data', read).off('error', fail).off('close', ended)
    }
    const finish = (): void => {
      settle()
      socket.pause()
      // Data after the login belongs to the session.
      const received = Buffer.concat([...forDriver, pending])
      resolve(refusedWith === undefined ? { received } : { received, refusedWith })
    }
    const fail = (error: Error): void => {
      settle()
      reject(error)
    }
    const ended = (): void => {
      fail(
        Object.assign(new Error('the server closed the connection during login'), {
          code: 'ECONNRESET',
        }),
      )
    }
    const send = (answer: Buffer | undefined): void => {
      if (answer !== undefined) socket.write(answer)
    }
    const take = (type: number, message: Buffer): void => {
      if (type === BackendType.errorResponse) {
        const fields = errorFields(message)
        refusedWith = fields.get('C') ?? '08004'
        forDriver.push(withHint(message, fields, user, explainRefusal))
      } else if (
        type === BackendType.authentication &&
        message.readInt32BE(HEADER_BYTES) !== AuthenticationRequest.ok
      ) {
        const answer = client.answer(message)
        if (answer instanceof Promise)
          answer.then(send, (cause: unknown) => fail(rejection(cause, user, isOrdinary)))
        else send(answer)
      } else {
        if (type === BackendType.authentication && !client.mayBeAccepted()) throw unproven()
        isAuthenticated ||= type === BackendType.authentication
        isReady = type === BackendType.readyForQuery
        forDriver.push(message)
      }
    }
    const read = (chunk: Buffer): void => {
      pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
      try {
        while (!isReady && refusedWith === undefined && pending.length >= HEADER_BYTES) {
          const type = pending[0]!
          const length = 1 + checkedLength(pending, isAuthenticated)
          if (loginBytes + length > MAX_LOGIN_BYTES) throw tooLong()
          if (pending.length < length) return
          const flaw = bodyFlaw(type, pending, HEADER_BYTES, length)
          if (flaw !== undefined) throw protocolError(`the server sent ${flaw}`)
          const message = Buffer.from(pending.subarray(0, length))
          pending = pending.subarray(length)
          loginBytes += length
          take(type, message)
        }
        if (isReady || refusedWith !== undefined) finish()
      } catch (cause) {
        fail(rejection(cause, user, isOrdinary))
      }
    }
    socket.on('data', read).on('error', fail).on('close', ended)
    socket.resume()
    socket.write(startup)
  })
}

/** libpq's limit for messages before a login is accepted. PostgreSQL sends less than a kilobyte during a login. */
const MAX_LOGIN_BYTES = 30_000

/** The messages that libpq (17) accepts before AuthenticationOk, and notices, which are passed to the driver. */
const BEFORE_AUTHENTICATED: ReadonlySet<number> = new Set<number>([
  BackendType.authentication,
  BackendType.errorResponse,
  BackendType.negotiateProtocolVersion,
  BackendType.noticeResponse,
])

/** The messages accepted between AuthenticationOk and the first ReadyForQuery. */
const ONCE_AUTHENTICATED: ReadonlySet<number> = new Set<number>([
  BackendType.backendKeyData,
  BackendType.errorResponse,
  BackendType.noticeResponse,
  BackendType.parameterStatus,
  BackendType.readyForQuery,
])

/** The length word of the message at the start of `bytes`. Throws `ERR_PROTOCOL` for a message that is not allowed at this point. */
function checkedLength(bytes: Buffer, isAuthenticated: boolean): number {
  const type = bytes[0]!
  const length = bytes.readInt32BE(1)
  const flaw = headerFlaw(type, length)
  if (flaw !== undefined) throw protocolError(`the server sent ${flaw}`)
  if (!(isAuthenticated ? ONCE_AUTHENTICATED : BEFORE_AUTHENTICATED).has(type)) {
    const when = isAuthenticated ? 'before the end of the login' : 'before AuthenticationOk'
    throw protocolError(`the server sent a message of type "${String.fromCharCode(type)}" ${when}`)
  }
  return length
}

function tooLong(): PgIamError {
  return protocolError(`the server sent more than ${MAX_LOGIN_BYTES} bytes during login`)
}

/** Converts an error of the protocol to an error of the core. */
function rejection(cause: unknown, user: string, isOrdinary: boolean): PgIamError {
  if (isPgIamError(cause)) return cause
  if (cause instanceof ProtocolViolation) return protocolError(cause.message)
  if (cause instanceof UnsupportedMethod) return unsupportedMethod(cause, user, isOrdinary)
  if (cause instanceof ScramFailure) return scramFailed(cause)
  return protocolError('the server sent data that could not be parsed during login', cause)
}

function scramFailed({ cause }: ScramFailure): PgIamError {
  return new PgIamError('ERR_LOGIN_REJECTED', 'the SCRAM exchange with the server failed', {
    cause,
    hint: 'Check host and port: the server may not be the one that has this password.',
  })
}

function unsupportedMethod(
  { method }: UnsupportedMethod,
  user: string,
  isOrdinary: boolean,
): PgIamError {
  const asked = METHOD_NAMES[method] ?? `authentication method ${method}`
  return new PgIamError(
    'ERR_LOGIN_REJECTED',
    `the server asked for ${asked}, not for a ${isOrdinary ? 'password' : 'token'}`,
    {
      hint: isOrdinary
        ? 'Configure password authentication at the server: scram-sha-256, md5 or password in pg_hba.conf.'
        : `Allow IAM logins for "${user}" in the database: the server asks other roles for an ordinary password.`,
    },
  )
}

const METHOD_NAMES: Readonly<Record<number, string>> = {
  [AuthenticationRequest.gss]: 'GSSAPI',
  [AuthenticationRequest.sspi]: 'SSPI',
  [AuthenticationRequest.sasl]: 'a SCRAM password',
}

const TOKEN_METHODS = ['cleartext', 'md5'] as const
const ORDINARY_METHODS = ['cleartext', 'md5', 'scram-sha-256'] as const

/** In a SCRAM exchange the server must also prove that it knows the password. A server that skips this may be an impostor. */
function unproven(): PgIamError {
  return new PgIamError(
    'ERR_LOGIN_REJECTED',
    'the server skipped its proof in the SCRAM exchange',
    {
      hint: 'Check host and port: the server may not be the one that has this password.',
    },
  )
}

/** Adds the provider's hint to the server's error, if the error has none. */
function withHint(
  error: Buffer,
  fields: ReadonlyMap<string, string>,
  user: string,
  explain: (refusal: Refusal) => string | undefined,
): Buffer {
  const sqlState = fields.get('C') ?? ''
  const hint = fields.has('H')
    ? undefined
    : explain({ sqlState, message: fields.get('M') ?? '', user })
  if (hint === undefined) return error
  // A NUL after the last field ends the message.
  const hinted = Buffer.concat([error.subarray(0, -1), Buffer.from(`H${hint}\0\0`)])
  hinted.writeInt32BE(hinted.length - 1, 1)
  return hinted
}
