/** The server's side of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802 and 7677), as PostgreSQL speaks it. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import {
  exclusiveOr,
  scramAttributes,
  scramHmac,
  sha256,
  type ScramKeys,
} from '../../../core/wire/scram-keys.js'

export const SCRAM = 'SCRAM-SHA-256'
/** The same, bound to the TLS that it runs over: whoever stands in between with another certificate is found out. */
export const SCRAM_PLUS = 'SCRAM-SHA-256-PLUS'

/** What a server knows before the exchange. */
export interface ScramServerSettings {
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
