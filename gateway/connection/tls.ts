/** The server side of TLS on sockets that the caller accepted. */
import { constants, createHash } from 'node:crypto'
import type { Duplex } from 'node:stream'
import {
  createSecureContext,
  createServer,
  type SecureContext,
  type Server,
  type TLSSocket,
} from 'node:tls'
import { invalidOption, invalidSecret, isPlainObject } from '../../core/options/check.js'
import { connectionClosed } from '../../wire/framing.js'
import { refusal, refused } from '../auth/refusal.js'

/** A certificate of the server, as `tls.createSecureContext` accepts it. */
export interface TlsCredentials {
  /** The private key, as PEM text. */
  key: string | Buffer
  /** The certificate and its intermediate authorities, as PEM text. */
  cert: string | Buffer
  /** The authorities of client certificates, as PEM text. With it, clients are asked for a certificate. */
  ca?: string | Buffer
  /** The passphrase of the private key. */
  passphrase?: string
}

/**
 * Returns the certificate for the server name (SNI) of a client, or `undefined` to refuse the handshake. It is called for each handshake,
 * so that a renewed certificate is used at once. The name is `undefined` for a client that sends none.
 */
export type TlsLookup = (
  serverName: string | undefined,
) => TlsCredentials | undefined | PromiseLike<TlsCredentials | undefined>

export interface TlsUpgrader {
  /** Resolves after the handshake. Rejects with a refusal, or with the error of a lost connection; the stream is then closed. */
  upgrade(stream: Duplex): Promise<TLSSocket>
}

/** Validates the option `tls`. */
export function tlsOption(value: unknown, name: string): TlsCredentials | TlsLookup {
  if (typeof value === 'function') return value as TlsLookup
  const { key, cert } = isPlainObject(value) ? value : {}
  const isGiven = (part: unknown): boolean =>
    (typeof part === 'string' || part instanceof Uint8Array) && part.length > 0
  if (!isGiven(key) || !isGiven(cert))
    throw invalidSecret(name, '{ key, cert } or a function of the server name', value)
  try {
    contextOf(value as unknown as TlsCredentials)
  } catch {
    // OpenSSL's error does not say which of them it is about.
    throw invalidOption(name, 'a matching key and certificate as PEM text', undefined)
  }
  return value as unknown as TlsCredentials
}

/**
 * Returns the upgrader for TLS 1.2 and later. The only ALPN protocol is `postgresql`. The same options give the same upgrader, which keeps
 * a TLS server of Node's.
 *
 * @param asksForCertificate whether clients are asked for a certificate. A missing or untrusted one does not fail the handshake: the login
 * checks it, and can tell the client why.
 */
export function tlsUpgrader(
  tls: TlsCredentials | TlsLookup,
  asksForCertificate: boolean,
): TlsUpgrader {
  if (typeof tls !== 'function')
    return keep(upgraders, `${contentOf(tls)} ${asksForCertificate}`, () =>
      createTlsUpgrader(() => tls, asksForCertificate),
    )
  const known = upgradersByLookup.get(tls)
  if (known?.asksForCertificate === asksForCertificate) return known.upgrader
  const upgrader = createTlsUpgrader(tls, asksForCertificate)
  upgradersByLookup.set(tls, { upgrader, asksForCertificate })
  return upgrader
}

const upgraders = new Map<string, TlsUpgrader>()
const upgradersByLookup = new WeakMap<
  TlsLookup,
  { readonly upgrader: TlsUpgrader; readonly asksForCertificate: boolean }
>()

function createTlsUpgrader(lookUp: TlsLookup, asksForCertificate: boolean): TlsUpgrader {
  const shared = createTlsServer(lookUp, asksForCertificate)
  return {
    async upgrade(stream) {
      const peer = peerOf(stream)
      // A stream without an address could not be found again in the events of a server that it shares.
      const server = peer === undefined ? createTlsServer(lookUp, asksForCertificate) : shared
      try {
        return await server.upgrade(stream, peer ?? '')
      } catch (error) {
        stream.destroy()
        const { code, message } = error as { code?: string; message: string }
        if (code === 'ECONNRESET') throw error
        throw refused(refusal('tls-failed', `the TLS handshake failed: ${code ?? message}`))
      }
    },
  }
}

interface TlsServer {
  upgrade(stream: Duplex, peer: string): Promise<TLSSocket>
}

/** This server does not listen. Emitting "connection" is the documented way to use a TLS server with an existing stream. */
function createTlsServer(lookUp: TlsLookup, asksForCertificate: boolean): TlsServer {
  const waiting = new Map<string, Waiting>()
  let nameless: TlsCredentials | undefined
  const settings = {
    ...SETTINGS,
    // Disables session resumption, which would skip the certificate check of another endpoint. PostgreSQL disables it too.
    ...(asksForCertificate ? { secureOptions: constants.SSL_OP_NO_TICKET } : {}),
  }
  const server: Server = createServer({
    ...settings,
    ALPNProtocols: ['postgresql'],
    // Disabled, because the whole login has a time limit.
    handshakeTimeout: 0x7fff_ffff,
    SNICallback(serverName, done) {
      find(serverName).then(
        (found) =>
          found === undefined
            ? done(Object.assign(new Error('no certificate'), { code: 'ERR_TLS_NO_CERTIFICATE' }))
            : done(null, contextOf(found)),
        (error: unknown) => done(error as Error),
      )
    },
    requestCert: asksForCertificate,
    rejectUnauthorized: false,
  })
  // What the function throws becomes a rejection.
  const find = async (serverName: string | undefined): Promise<TlsCredentials | undefined> =>
    lookUp(serverName)
  server.on('secureConnection', (secured) => {
    const waiter = waiting.get(peerOf(secured) ?? '')
    if (waiter === undefined) secured.destroy()
    else waiter.resolve(secured)
  })
  server.on('tlsClientError', (error, secured) => waiting.get(peerOf(secured) ?? '')?.reject(error))

  return {
    async upgrade(stream, peer) {
      // Clients without a server name do not reach the SNICallback.
      const found = await find(undefined)
      if (found !== undefined && !isSame(found, nameless)) {
        server.setSecureContext({ ...settings, ...found })
        nameless = found
      }
      return new Promise((resolve, reject) => {
        const settle = (): void => {
          waiting.delete(peer)
          stream.off('close', closed)
        }
        const closed = (): void => {
          settle()
          reject(connectionClosed())
        }
        if (stream.destroyed) {
          reject(connectionClosed())
          return
        }
        waiting.set(peer, {
          resolve(secured) {
            settle()
            resolve(secured)
          },
          reject(error) {
            settle()
            reject(error)
          },
        })
        stream.once('close', closed)
        server.emit('connection', stream)
      })
    },
  }
}

interface Waiting {
  resolve(secured: TLSSocket): void
  reject(error: Error): void
}

/** Identifies a stream in the events of its TLS server. */
function peerOf(stream: Duplex): string | undefined {
  const { remoteAddress, remotePort } = stream as { remoteAddress?: string; remotePort?: number }
  return remotePort === undefined ? undefined : `${remoteAddress} ${remotePort}`
}

// Contexts, which take a millisecond to create, are kept by their content, whoever returns it.

const SETTINGS = { minVersion: 'TLSv1.2' } as const
const contexts = new Map<string, SecureContext>()

function contextOf(credentials: TlsCredentials): SecureContext {
  const { key, cert, ca, passphrase } = credentials
  return keep(contexts, contentOf(credentials), () =>
    createSecureContext({ ...SETTINGS, key, cert, ca, passphrase }),
  )
}

/** The hash of what the credentials contain. */
function contentOf({ key, cert, ca, passphrase }: TlsCredentials): string {
  const content = [key, cert, ca, passphrase].map((part) => String(part ?? '')).join('\0')
  return createHash('sha256').update(content).digest('base64')
}

/** Returns what the map has for the key, or creates it. The oldest one of a thousand is dropped. */
function keep<T>(kept: Map<string, T>, key: string, create: () => T): T {
  const known = kept.get(key)
  if (known !== undefined) return known
  const created = create()
  const [oldest] = kept.keys()
  if (kept.size >= MAX_KEPT && oldest !== undefined) kept.delete(oldest)
  kept.set(key, created)
  return created
}

const MAX_KEPT = 1_000

function isSame(a: TlsCredentials, b: TlsCredentials | undefined): boolean {
  return a === b || (b !== undefined && contentOf(a) === contentOf(b))
}

// Channel binding.

/**
 * The data of the channel binding `tls-server-end-point` (RFC 5929): the hash of the server's certificate, by the hash function of its
 * signature, but SHA-256 for MD5 and SHA-1. `undefined` for signatures without a single hash function, such as Ed25519.
 */
export function serverEndPoint(socket: TLSSocket): Buffer | undefined {
  const certificate = socket.getX509Certificate()?.raw
  if (certificate === undefined) return undefined
  const hash = HASHES[signatureAlgorithm(certificate)]
  return hash === undefined ? undefined : createHash(hash).update(certificate).digest()
}

/** The DER of the OIDs: https://www.rfc-editor.org/rfc/rfc8017 and rfc5758 */
const HASHES: Readonly<Record<string, string | undefined>> = {
  '2a864886f70d010104': 'sha256', // md5WithRSAEncryption
  '2a864886f70d010105': 'sha256', // sha1WithRSAEncryption
  '2a864886f70d01010b': 'sha256', // sha256WithRSAEncryption
  '2a864886f70d01010c': 'sha384',
  '2a864886f70d01010d': 'sha512',
  '2a864886f70d01010e': 'sha224',
  '2a8648ce3d0401': 'sha256', // ecdsa-with-SHA1
  '2a8648ce3d040301': 'sha224',
  '2a8648ce3d040302': 'sha256',
  '2a8648ce3d040303': 'sha384',
  '2a8648ce3d040304': 'sha512',
}

/** A certificate is a SEQUENCE of the signed part, the algorithm (a SEQUENCE that starts with an OID) and the signature. */
function signatureAlgorithm(certificate: Buffer): string {
  const signed = elementAt(certificate, elementAt(certificate, 0).content)
  const oid = elementAt(certificate, elementAt(certificate, signed.end).content)
  return certificate.toString('hex', oid.content, oid.end)
}

/** Where the content of a DER element begins, and where it ends. */
function elementAt(der: Buffer, offset: number): { content: number; end: number } {
  const first = der[offset + 1]!
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f
  const content = offset + 2 + lengthBytes
  const length = lengthBytes === 0 ? first : der.readUIntBE(offset + 2, lengthBytes)
  return { content, end: content + length }
}
