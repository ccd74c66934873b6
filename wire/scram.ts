/** SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802 and 7677) as implemented by PostgreSQL: client and server. */

export const SCRAM = 'SCRAM-SHA-256'
/** SCRAM with channel binding: an intermediary with another certificate is detected. */
export const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS'

interface ScramKeys {
  /** Known only to the client. */
  readonly clientKey: Buffer
  /** Stored by a server, to check the client's proof. */
  readonly storedKey: Buffer
  /** Stored by a server, to prove that it knows the password. */
  readonly serverKey: Buffer
}

export async function scramKeys(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<ScramKeys> {
  // SASLprep (RFC 4013), but without its list of prohibited characters. PostgreSQL skips SASLprep for a password with one of them.
  const mapped = password.replaceAll(SPACES, ' ').replaceAll(MAPPED_TO_NOTHING, '')
  const text = mapped.normalize('NFKC') || password
  // `promisify` is not used: in an ES module, importing `node:util` loads everything that it exports.
  const salted = await new Promise<Buffer>((resolve, reject) => {
    crypto().pbkdf2(text, salt, iterations, 32, 'sha256', (error, key) =>
      error === null ? resolve(key) : reject(error),
    )
  })
  const clientKey = scramHmac(salted, 'Client Key')
  return { clientKey, storedKey: sha256(clientKey), serverKey: scramHmac(salted, 'Server Key') }
}

/** RFC 3454, tables C.1.2 and B.1. The second one contains the variation selector of emoji. */
const SPACES = /[\u00A0\u1680\u2000-\u200B\u202F\u205F\u3000]/g
const MAPPED_TO_NOTHING =
  /\u00AD|\u034F|\u1806|[\u180B-\u180D]|\u200C|\u200D|\u2060|[\uFE00-\uFE0F]|\uFEFF/g

/** The attributes of a SCRAM message by name. */
function scramAttributes(message: string): Record<string, string | undefined> {
  return Object.fromEntries(message.split(',').map((part) => [part[0] ?? '', part.slice(2)]))
}

/** Computes the proof from a key and a signature, or the key from a proof and a signature. */
function exclusiveOr(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ b[index]!))
}

export function scramHmac(key: Buffer, text: string): Buffer {
  return crypto().createHmac('sha256', key).update(text).digest()
}

export function sha256(bytes: Buffer): Buffer {
  return crypto().createHash('sha256').update(bytes).digest()
}

/** The client side of one exchange. */
export interface ScramClient {
  readonly clientFirst: string
  /** Returns the response to the server's first message. Throws if the message does not belong to this exchange. */
  clientFinal(serverFirst: string): Promise<string>
  /** Throws unless the server has proved that it knows the password. */
  verify(serverFinal: string): void
}

/** @param nonce random text without commas, unique for each exchange */
export function createScramClient(
  password: string,
  nonce: string = crypto().randomBytes(18).toString('base64'),
): ScramClient {
  // The user name is empty: PostgreSQL uses the one from the startup packet.
  const clientFirstBare = `n=,r=${nonce}`
  let serverSignature: Buffer | undefined
  return {
    clientFirst: `n,,${clientFirstBare}`,
    async clientFinal(serverFirst) {
      const { r: serverNonce = '', s: salt = '', i: rounds = '' } = scramAttributes(serverFirst)
      const iterations = Number(rounds)
      if (!serverNonce.startsWith(nonce) || serverNonce === nonce || salt === '')
        throw new Error('the SCRAM nonce or salt of the server is invalid')
      if (!Number.isInteger(iterations) || iterations < 1 || iterations > MAX_ITERATIONS)
        throw new Error(
          `the server requested ${rounds || 'no'} SCRAM iterations, at most ${MAX_ITERATIONS} are allowed`,
        )
      const keys = await scramKeys(password, Buffer.from(salt, 'base64'), iterations)
      const withoutProof = `c=biws,r=${serverNonce}`
      const authMessage = `${clientFirstBare},${serverFirst},${withoutProof}`
      const proof = exclusiveOr(keys.clientKey, scramHmac(keys.storedKey, authMessage))
      serverSignature = scramHmac(keys.serverKey, authMessage)
      return `${withoutProof},p=${proof.toString('base64')}`
    },
    verify(serverFinal) {
      const given = Buffer.from(scramAttributes(serverFinal)['v'] ?? '', 'base64')
      const proven =
        serverSignature?.length === given.length && crypto().timingSafeEqual(serverSignature, given)
      if (!proven) throw new Error('the server did not prove that it knows the password')
    },
  }
}

/**
 * PostgreSQL's default is 4,096. Each iteration takes about half a microsecond on a thread of Node's pool, so a hostile server could
 * request hours of work. pg (8.23) has the same limit.
 */
const MAX_ITERATIONS = 100_000

/** The server's inputs to an exchange. */
interface ScramServerSettings {
  readonly keys: Pick<ScramKeys, 'storedKey' | 'serverKey'>
  readonly salt: Buffer
  readonly iterations: number
  /** `tls-server-end-point` (RFC 5929): the hash of the server's certificate. `undefined` if channel binding is not offered. */
  readonly channelBinding: Buffer | undefined
}

/** Errors of an exchange that are detected before the password is checked. */
export type ScramFault = 'malformed' | 'binding-unused' | 'binding-wrong'

export interface ScramServer {
  /** The response to the client's first message. */
  readonly serverFirst: string
  /** Returns the response to the client's final message, `undefined` for a wrong proof, or a fault of the exchange. */
  answer(clientFinal: string): { readonly serverFinal: string | undefined } | ScramFault
}

/** @param nonce random text without commas, unique for each exchange */
export function startScram(
  mechanism: typeof SCRAM | typeof SCRAM_PLUS,
  clientFirst: string,
  { keys, salt, iterations, channelBinding }: ScramServerSettings,
  nonce: string = crypto().randomBytes(18).toString('base64'),
): ScramServer | ScramFault {
  // An authorization identity (a=) is rejected, as in PostgreSQL. The user name is ignored: the startup packet has it.
  const [, header, flag, bare, clientNonce] =
    /^((n|y|p=tls-server-end-point),,)(n=[^,]*,r=([!-+\--~]+)(?:,.*)?)$/s.exec(clientFirst) ?? []
  if (header === undefined || bare === undefined || clientNonce === undefined) return 'malformed'
  const isBound = mechanism === SCRAM_PLUS
  if (isBound !== flag?.startsWith('p')) return 'malformed'
  // The client supports channel binding and believes that the server does not. An attacker may have removed the offer.
  if (flag === 'y' && channelBinding !== undefined) return 'binding-unused'
  const binding = isBound && channelBinding ? channelBinding : Buffer.alloc(0)
  const bound = Buffer.concat([Buffer.from(header), binding]).toString('base64')
  const serverFirst = `r=${clientNonce}${nonce},s=${salt.toString('base64')},i=${iterations}`
  return {
    serverFirst,
    answer(clientFinal) {
      const [, withoutProof] = /^(c=.*),p=[^,]*$/s.exec(clientFinal) ?? []
      const { c, r, p = '' } = scramAttributes(clientFinal)
      if (withoutProof === undefined || r !== clientNonce + nonce) return 'malformed'
      if (c !== bound) return 'binding-wrong'
      const authMessage = `${bare},${serverFirst},${withoutProof}`
      const proof = Buffer.from(p, 'base64')
      if (proof.length !== 32) return 'malformed'
      const clientKey = exclusiveOr(proof, scramHmac(keys.storedKey, authMessage))
      if (!crypto().timingSafeEqual(sha256(clientKey), keys.storedKey))
        return { serverFinal: undefined }
      const signature = scramHmac(keys.serverKey, authMessage).toString('base64')
      return { serverFinal: `v=${signature}` }
    },
  }
}

/** Loaded on use, so that an import of the package does not load it. */
function crypto(): typeof import('node:crypto') {
  return process.getBuiltinModule('node:crypto')
}
