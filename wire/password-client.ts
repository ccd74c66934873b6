/** The client side of password authentication: responses to a server's authentication requests. */
import { ProtocolViolation } from './framing.js'
import {
  AuthenticationRequest,
  cString,
  FrontendType,
  HEADER_BYTES,
  int32,
  encodeMessage,
} from './messages.js'
import { createScramClient, SCRAM, type ScramClient } from './scram.js'

/** How a password may be sent: in cleartext, as a salted hash, or by an exchange that does not reveal it. */
export type PasswordMethod = 'cleartext' | 'md5' | 'scram-sha-256'

interface PasswordClientSettings {
  user: string
  password: string
  methods: readonly PasswordMethod[]
}

export interface PasswordClient {
  /**
   * Returns the response to an authentication request other than AuthenticationOk, or `undefined` if the server expects none.
   *
   * Throws a `ProtocolViolation` for an unexpected request, an `UnsupportedMethod`, or a `ScramFailure`.
   */
  answer(request: Buffer): Promise<Buffer | undefined> | Buffer | undefined
  /** Whether AuthenticationOk is valid now. A SCRAM exchange must first end with the server's proof that it knows the password. */
  mayBeAccepted(): boolean
}

/** The server requested an authentication method that the client does not allow. */
export class UnsupportedMethod extends Error {
  override readonly name = 'UnsupportedMethod'
  /** The number of the authentication request. */
  readonly method: number

  constructor(method: number) {
    super(`unsupported authentication method ${method}`)
    this.method = method
  }
}

/** The server failed to prove in a SCRAM exchange that it knows the password. */
export class ScramFailure extends Error {
  override readonly name = 'ScramFailure'
}

/** Creates the client for one login. */
export function createPasswordClient({
  user,
  password,
  methods,
}: PasswordClientSettings): PasswordClient {
  let scram: ScramClient | undefined
  /** The requests that the server may send next. */
  let next: 'any' | 'sasl-continue' | 'sasl-final' | 'nothing' = 'any'
  const begin = (method: number, request: Buffer): Buffer => {
    if (next !== 'any') throw new ProtocolViolation('the server asked for a password a second time')
    next = 'nothing'
    if (method === AuthenticationRequest.cleartextPassword && methods.includes('cleartext'))
      return passwordMessage(cString(password))
    if (method === AuthenticationRequest.md5Password && methods.includes('md5'))
      return passwordMessage(cString(md5Password(user, password, request)))
    const isScram = method === AuthenticationRequest.sasl && mechanismsOf(request).includes(SCRAM)
    if (!isScram || !methods.includes('scram-sha-256')) throw new UnsupportedMethod(method)
    scram = createScramClient(password)
    next = 'sasl-continue'
    const first = Buffer.from(scram.clientFirst)
    return passwordMessage(cString(SCRAM), int32(first.length), first)
  }
  const proceed = async (exchange: ScramClient, request: Buffer): Promise<Buffer> => {
    next = 'sasl-final'
    try {
      return passwordMessage(Buffer.from(await exchange.clientFinal(textOf(request))))
    } catch (cause) {
      throw scramFailure(cause)
    }
  }
  return {
    mayBeAccepted: () => scram === undefined || next === 'nothing',
    answer(request) {
      const method = request.readInt32BE(HEADER_BYTES)
      const expected = EXPECTED[method]
      if (expected === undefined) return begin(method, request)
      if (scram === undefined || next !== expected)
        throw new ProtocolViolation('the server sent an unexpected SCRAM message')
      if (expected === 'sasl-continue') return proceed(scram, request)
      next = 'nothing'
      try {
        scram.verify(textOf(request))
      } catch (cause) {
        throw scramFailure(cause)
      }
      return undefined
    },
  }
}

/** The requests that continue an exchange. */
const EXPECTED: Readonly<Record<number, 'sasl-continue' | 'sasl-final'>> = {
  [AuthenticationRequest.saslContinue]: 'sasl-continue',
  [AuthenticationRequest.saslFinal]: 'sasl-final',
}

function scramFailure(cause: unknown): ScramFailure {
  return new ScramFailure('the SCRAM exchange failed', { cause })
}

/** The request's data after the method. */
function textOf(request: Buffer): string {
  return request.toString('utf8', HEADER_BYTES + 4)
}

/** The SASL mechanisms that a server offers, followed by an empty string. */
function mechanismsOf(request: Buffer): string[] {
  return textOf(request).split('\0')
}

function passwordMessage(...body: readonly Buffer[]): Buffer {
  return encodeMessage(FrontendType.password, ...body)
}

function md5Password(user: string, password: string, request: Buffer): string {
  const salt = request.subarray(HEADER_BYTES + 4, HEADER_BYTES + 8)
  return `md5${md5(Buffer.concat([Buffer.from(md5(password + user)), salt]))}`
}

function md5(content: string | Buffer): string {
  // Loaded on use, so that an import of the package does not load it.
  return process.getBuiltinModule('node:crypto').createHash('md5').update(content).digest('hex')
}
