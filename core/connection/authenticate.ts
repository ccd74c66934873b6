/** Logs in to a PostgreSQL server with a token as the password. */
import type { TLSSocket } from 'node:tls'
import { PgIamError, isPgIamError } from '../errors.js'
import { HEADER_BYTES, createMessageReader } from '../wire/message-reader.js'
import { createPasswordAnswers } from './answer-password-request.js'

/** The part of the client's work that a driver would do, were it to hold the password. */
export interface Authentication {
  socket: TLSSocket
  /** The client's startup packet. */
  startup: Buffer
  user: string
  password: string
  /** Whether it is an ordinary password, which the server may ask for by SCRAM, too. Default `false`: it is a token. */
  isOrdinaryPassword?: boolean
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
  isOrdinaryPassword: isOrdinary = false,
  explainRefusal = () => undefined,
}: Authentication): Promise<Authenticated> {
  return new Promise((resolve, reject) => {
    const reader = createMessageReader(MAX_MESSAGE_BYTES)
    const answers = createPasswordAnswers({ user, password, isOrdinary })
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
    const send = (answer: Buffer | undefined): void => {
      if (answer !== undefined) socket.write(answer)
    }
    const read = (chunk: Buffer): void => {
      try {
        for (const { type, bytes } of reader.push(chunk)) {
          if (type === AUTHENTICATION && bytes.readInt32BE(HEADER_BYTES) !== AUTHENTICATION_OK) {
            const answer = answers.answer(Buffer.from(bytes))
            if (answer instanceof Promise)
              answer.then(send, (cause: unknown) => fail(asRejection(cause)))
            else send(answer)
            continue
          }
          if (type === AUTHENTICATION && !answers.isServerProven()) throw unproven()
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
        fail(asRejection(cause))
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

function asRejection(cause: unknown): PgIamError {
  return isPgIamError(cause, 'ERR_LOGIN_REJECTED') ? cause : notPostgres(cause)
}

/** By SCRAM a server proves that it knows the password, too; whoever lets the client in without that is another. */
function unproven(): PgIamError {
  return new PgIamError(
    'ERR_LOGIN_REJECTED',
    'the server let the client in without showing that it knows the password',
  )
}

function notPostgres(cause: unknown): PgIamError {
  return new PgIamError(
    'ERR_LOGIN_REJECTED',
    'the server does not speak the protocol of PostgreSQL',
    { cause, hint: 'Check host and port: something else may be listening there.' },
  )
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
