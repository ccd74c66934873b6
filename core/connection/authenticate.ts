/** Logs in to a PostgreSQL server with a token as the password. */
import { createHash } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { PgIamError, isPgIamError } from '../errors.js'
import { HEADER_BYTES, createMessageReader } from '../wire/message-reader.js'

/** The part of the client's work that a driver would do, were it to hold the password. */
export interface Authentication {
  socket: TLSSocket
  /** The client's startup packet. */
  startup: Buffer
  user: string
  password: string
  /** What to do about a refusal, for an error of the server that says nothing about that. */
  explainRefusal?: (refusal: Refusal) => string | undefined
}

/** The error with which a server refuses a login. */
export interface Refusal {
  readonly sqlState: string
  readonly message: string
  readonly user: string
}

export interface Authenticated {
  /** What the server sent that is for the driver to read: from `AuthenticationOk` on, or the error that it refused with. */
  received: Buffer
  /** The SQLSTATE of that error. */
  refusedWith?: string
}

/**
 * Sends the startup packet and answers the server's request for a password. Resolves when the server is ready for a query, or
 * has refused the login.
 *
 * It does not resolve before: a server that hangs up in between would have Postgres.js reconnect in a loop, without a pause and
 * without an end.
 *
 * Rejects with `ERR_LOGIN_REJECTED` where the server wants something that a token is no answer to, or is no PostgreSQL.
 */
export function authenticate({
  socket,
  startup,
  user,
  password,
  explainRefusal = () => undefined,
}: Authentication): Promise<Authenticated> {
  return new Promise((resolve, reject) => {
    const reader = createMessageReader(MAX_MESSAGE_BYTES)
    const forDriver: Buffer[] = []
    let refusedWith: string | undefined
    let isReady = false
    const settle = (): void => {
      socket.off('data', read).off('error', fail).off('close', ended)
    }
    const finish = (): void => {
      settle()
      socket.pause()
      const received = Buffer.concat([...forDriver, reader.takeRest()])
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
    const read = (chunk: Buffer): void => {
      try {
        for (const { type, bytes } of reader.push(chunk)) {
          if (type === AUTHENTICATION && bytes.readInt32BE(HEADER_BYTES) !== AUTHENTICATION_OK) {
            socket.write(passwordMessage(bytes, user, password))
            continue
          }
          if (type === ERROR_RESPONSE) {
            const fields = errorFields(bytes)
            refusedWith ??= fields.get('C') ?? '08004'
            forDriver.push(withHint(bytes, fields, user, explainRefusal))
            continue
          }
          forDriver.push(Buffer.from(bytes))
          isReady ||= type === READY_FOR_QUERY
        }
        if (isReady || refusedWith !== undefined) finish()
      } catch (cause) {
        fail(isPgIamError(cause, 'ERR_LOGIN_REJECTED') ? cause : notPostgres(cause))
      }
    }
    socket.on('data', read).on('error', fail).on('close', ended)
    socket.resume()
    socket.write(startup)
  })
}

const MAX_MESSAGE_BYTES = 1 << 20
const AUTHENTICATION = 'R'.charCodeAt(0)
const ERROR_RESPONSE = 'E'.charCodeAt(0)
const READY_FOR_QUERY = 'Z'.charCodeAt(0)
const AUTHENTICATION_OK = 0
const CLEARTEXT_PASSWORD = 3
const MD5_PASSWORD = 5

function passwordMessage(request: Buffer, user: string, password: string): Buffer {
  const method = request.readInt32BE(HEADER_BYTES)
  switch (method) {
    case CLEARTEXT_PASSWORD:
      return encodePassword(password)
    case MD5_PASSWORD:
      return encodePassword(md5Password(user, password, request))
    default:
      throw new PgIamError(
        'ERR_LOGIN_REJECTED',
        `the server asked for ${METHODS[method] ?? `authentication method ${method}`}, not for a token`,
        {
          hint: `Allow "${user}" to log in by IAM at the database: a role that may not is asked for an ordinary password.`,
        },
      )
  }
}

function notPostgres(cause: unknown): PgIamError {
  return new PgIamError(
    'ERR_LOGIN_REJECTED',
    'the server does not speak the protocol of PostgreSQL',
    { cause, hint: 'Check host and port: something else may be listening there.' },
  )
}

function md5Password(user: string, password: string, request: Buffer): string {
  const salt = Buffer.alloc(4)
  salt.writeInt32BE(request.readInt32BE(HEADER_BYTES + 4))
  return `md5${md5(Buffer.concat([Buffer.from(md5(password + user)), salt]))}`
}

/** The fields of an ErrorResponse: a letter and a text each. */
function errorFields(error: Buffer): ReadonlyMap<string, string> {
  const fields = error.toString('utf8', HEADER_BYTES).split('\0')
  return new Map(fields.filter((field) => field !== '').map((field) => [field[0]!, field.slice(1)]))
}

/** The server's error, with a hint where the server has none to give and the provider has. */
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
  if (hint === undefined) return Buffer.from(error)
  // Behind the last field is a zero byte, which ends the message.
  const told = Buffer.concat([error.subarray(0, -1), Buffer.from(`H${hint}\0\0`)])
  told.writeInt32BE(told.length - 1, 1)
  return told
}

const METHODS: Readonly<Record<number, string>> = { 7: 'GSSAPI', 9: 'SSPI', 10: 'a SCRAM password' }

function encodePassword(password: string): Buffer {
  const length = Buffer.byteLength(password) + 5
  const message = Buffer.alloc(length + 1)
  message.write('p', 0, 'latin1')
  message.writeInt32BE(length, 1)
  message.write(password, 5)
  return message
}

function md5(content: string | Buffer): string {
  return createHash('md5').update(content).digest('hex')
}
