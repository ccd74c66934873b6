/** SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802 and 7677), as PostgreSQL speaks them: both sides of an exchange. */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'

export const SCRAM = 'SCRAM-SHA-256'
/** The same, bound to the TLS that it runs over: whoever stands in between with another certificate is found out. */
export const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS'

interface ScramKeys {
  /** Known to the client alone. */
  readonly clientKey: Buffer
  /** What a server keeps to check the client's proof. */
  readonly storedKey: Buffer
  /** What a server keeps to prove itself. */
  readonly serverKey: Buffer
}

export async function scramKeys(
  password: string,
  salt: Buffer,
  iterations: number,
): Promise<ScramKeys> {
  // SASLprep is this and a list of forbidden characters, which PostgreSQL does without where it finds one.
  const text = password.normalize('NFKC')
  // Not by `promisify`: in an ES module, to import `node:util` loads all that it exports.
  const salted = await new Promise<Buffer>((resolve, reject) => {
    pbkdf2(text, salt, iterations, 32, 'sha256', (error, key) =>
      error === null ? resolve(key) : reject(error),
    )
  })
  const clientKey = scramHmac(salted, 'Client Key')
  return { clientKey, storedKey: sha256(clientKey), serverKey: scramHmac(salted, 'Server Key') }
}

/** The attributes of a SCRAM message by their letters. */
function scramAttributes(message: string): Record<string, string | undefined> {
  return Object.fromEntries(message.split(',').map((part) => [part[0] ?? '', part.slice(2)]))
}

/** The proof from a key and a signature, or the key from a proof and a signature. */
function exclusiveOr(a: Buffer, b: Buffer): Buffer {
  return Buffer.from(a.map((byte, index) => byte ^ b[index]!))
}

export function scramHmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

export function sha256(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/** The client's side of one exchange. */
export interface ScramClient {
  readonly clientFirst: string
  /** Answers the server's first message; throws where that does not belong to this exchange. */
  clientFinal(serverFirst: string): Promise<string>
  /** Throws unless the server has shown that it knows the password. */
  verify(serverFinal: string): void
}

/** @param nonce random text without commas, a new one for each exchange */
export function createScramClient(
  password: string,
  nonce: string = randomBytes(18).toString('base64'),
): ScramClient {
  // The user name is left empty: PostgreSQL takes the one of the startup packet.
  const clientFirstBare = `n=,r=${nonce}`
  let serverSignature: Buffer | undefined
  return {
    clientFirst: `n,,${clientFirstBare}`,
    async clientFinal(serverFirst) {
      const { r: serverNonce = '', s: salt = '', i: rounds = '' } = scramAttributes(serverFirst)
      const iterations = Number(rounds)
      if (!serverNonce.startsWith(nonce) || serverNonce === nonce || salt === '')
        throw new Error('the server answered another SCRAM exchange')
      if (!Number.isInteger(iterations) || iterations < 1 || iterations > MAX_ITERATIONS)
        throw new Error(
          `the server asked for ${rounds || 'no'} SCRAM iterations, at most ${MAX_ITERATIONS} are allowed`,
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
        serverSignature?.length === given.length && timingSafeEqual(serverSignature, given)
      if (!proven) throw new Error('the server could not show that it knows the password')
    },
  }
}

/**
 * PostgreSQL's default is 4,096. Each iteration costs a thread of Node's pool about half a microsecond, and a hostile server could ask
 * for hours. pg (8.23) has the same limit.
 */
const MAX_ITERATIONS = 100_000

/** What a server knows before the exchange. */
interface ScramServerSettings {
  readonly keys: Pick<ScramKeys, 'storedKey' | 'serverKey'>
  readonly salt: Buffer
  readonly iterations: number
  /** `tls-server-end-point` of RFC 5929: the hash of the server's certificate. */
  readonly channelBinding: Buffer
}

/** How an exchange fails before the password is of any matter. */
export type ScramFault = 'malformed' | 'binding-unused' | 'binding-wrong'

export interface ScramServer {
  /** The answer to the client's first message. */
  readonly serverFirst: string
  /** The answer to the client's final message, `undefined` where its proof is wrong, or a fault of the exchange. */
  answer(clientFinal: string): { readonly serverFinal: string | undefined } | ScramFault
}

/** @param nonce random text without commas, a new one for each exchange */
export function startScram(
  mechanism: typeof SCRAM | typeof SCRAM_PLUS,
  clientFirst: string,
  { keys, salt, iterations, channelBinding }: ScramServerSettings,
  nonce: string = randomBytes(18).toString('base64'),
): ScramServer | ScramFault {
  // No identity of its own (a=), which PostgreSQL knows none of either; the name is that of the startup packet anyway.
  const [, header, flag, bare, clientNonce] =
    /^((n|y|p=tls-server-end-point),,)(n=[^,]*,r=([!-+\--~]+)(?:,.*)?)$/s.exec(clientFirst) ?? []
  if (header === undefined || bare === undefined || clientNonce === undefined) return 'malformed'
  const isBound = mechanism === SCRAM_PLUS
  if (isBound !== flag?.startsWith('p')) return 'malformed'
  // A client that can bind and was not offered it was told so by somebody else.
  if (flag === 'y') return 'binding-unused'
  const binding = isBound ? channelBinding : Buffer.alloc(0)
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
      if (!timingSafeEqual(sha256(clientKey), keys.storedKey)) return { serverFinal: undefined }
      const signature = scramHmac(keys.serverKey, authMessage).toString('base64')
      return { serverFinal: `v=${signature}` }
    },
  }
}
