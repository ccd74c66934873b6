/** What a client answers when a server asks for a password. */
import { createHash } from 'node:crypto'
import { PgIamError } from '../errors.js'
import { HEADER_BYTES } from '../wire/backend-structure.js'
import { createScramExchange, type ScramExchange } from '../wire/scram-exchange.js'
import { protocolError } from './backend-tracker.js'

export interface PasswordAnswerSettings {
  user: string
  password: string
  /**
   * Whether the password is an ordinary one of PostgreSQL's, which a server may ask for by SCRAM. A server that asks for a token so
   * is one that does not want a token.
   */
  isOrdinary: boolean
}

export interface PasswordAnswers {
  /**
   * The message that answers an authentication request, or none. Throws `ERR_LOGIN_REJECTED` where there is no answer, and
   * `ERR_PROTOCOL` for a request out of turn, such as one that was answered already.
   */
  answer(request: Buffer): Promise<Buffer | undefined> | Buffer | undefined
  /** Whether the server has shown what it has to show before it may let anybody in. */
  isServerProven(): boolean
}

/** Creates the answers of one login. */
export function createPasswordAnswers(settings: PasswordAnswerSettings): PasswordAnswers {
  const { user, password, isOrdinary } = settings
  let scram: ScramExchange | undefined
  /** What the server may ask for next; nothing, once it has an answer. */
  let next: 'any' | typeof SASL_CONTINUE | typeof SASL_FINAL | 'nothing' = 'any'
  return {
    isServerProven: () => scram === undefined || next === 'nothing',
    answer(request) {
      const method = request.readInt32BE(HEADER_BYTES)
      const isLater = method === SASL_CONTINUE || method === SASL_FINAL
      if (isLater ? method !== next : next !== 'any') {
        throw protocolError(
          isLater
            ? 'the server went on with a SCRAM exchange out of turn'
            : 'the server asked for a password a second time',
        )
      }
      next = 'nothing'
      if (method === CLEARTEXT_PASSWORD) return passwordMessage(cString(password))
      if (method === MD5_PASSWORD)
        return passwordMessage(cString(md5Password(user, password, request)))
      if (method === SASL && isOrdinary && offersScram(request)) {
        scram = createScramExchange(password)
        next = SASL_CONTINUE
        return passwordMessage(saslInitialResponse(scram.clientFirst))
      }
      if (method === SASL_CONTINUE && scram !== undefined) {
        const answer = scram.clientFinal(bodyOf(request))
        next = SASL_FINAL
        return answer.then(
          (final) => passwordMessage(Buffer.from(final)),
          (cause: unknown) => {
            throw exchangeFailed(cause)
          },
        )
      }
      if (method === SASL_FINAL && scram !== undefined) {
        verify(scram, bodyOf(request))
        return undefined
      }
      throw noAnswer(method, settings)
    },
  }
}

const CLEARTEXT_PASSWORD = 3
const MD5_PASSWORD = 5
const SASL = 10
const SASL_CONTINUE = 11
const SASL_FINAL = 12
const SCRAM_SHA_256 = 'SCRAM-SHA-256'

function verify(scram: ScramExchange, serverFinal: string): void {
  try {
    scram.verify(serverFinal)
  } catch (cause) {
    throw exchangeFailed(cause)
  }
}

function exchangeFailed(cause: unknown): PgIamError {
  return new PgIamError('ERR_LOGIN_REJECTED', 'the server failed in the SCRAM exchange', {
    cause,
    hint: 'Check host and port: this may be another server than the one that has the password.',
  })
}

function noAnswer(method: number, { user, isOrdinary }: PasswordAnswerSettings): PgIamError {
  const asked = METHODS[method] ?? `authentication method ${method}`
  return new PgIamError(
    'ERR_LOGIN_REJECTED',
    `the server asked for ${asked}, not for a ${isOrdinary ? 'password' : 'token'}`,
    {
      hint: isOrdinary
        ? 'Let the server ask for a password: scram-sha-256, md5 or password in pg_hba.conf.'
        : `Allow "${user}" to log in by IAM at the database: a role that may not is asked for an ordinary password.`,
    },
  )
}

const METHODS: Readonly<Record<number, string>> = { 7: 'GSSAPI', 9: 'SSPI', 10: 'a SCRAM password' }

/** The mechanisms that a server offers: a name each, and an empty one behind them. */
function offersScram(request: Buffer): boolean {
  return bodyOf(request).split('\0').includes(SCRAM_SHA_256)
}

/** What stands behind the method. */
function bodyOf(request: Buffer): string {
  return request.toString('utf8', HEADER_BYTES + 4)
}

function saslInitialResponse(clientFirst: string): Buffer {
  const first = Buffer.from(clientFirst)
  const length = Buffer.alloc(4)
  length.writeInt32BE(first.length)
  return Buffer.concat([cString(SCRAM_SHA_256), length, first])
}

function passwordMessage(body: Buffer): Buffer {
  const header = Buffer.alloc(HEADER_BYTES)
  header.write('p', 0, 'latin1')
  header.writeInt32BE(body.length + 4, 1)
  return Buffer.concat([header, body])
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`)
}

function md5Password(user: string, password: string, request: Buffer): string {
  const salt = Buffer.alloc(4)
  salt.writeInt32BE(request.readInt32BE(HEADER_BYTES + 4))
  return `md5${md5(Buffer.concat([Buffer.from(md5(password + user)), salt]))}`
}

function md5(content: string | Buffer): string {
  return createHash('md5').update(content).digest('hex')
}
