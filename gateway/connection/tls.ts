/** The server side of TLS on sockets that the caller accepted. */
import { constants, createHash } from 'node:crypto'
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  createSecureContext,
  createServer,
  type SecureContext,
  type Server,
  type TLSSocket,
} from 'node:tls'
import { PgIamError } from '../../core/errors.js'
import { checkOptions, invalidSecret, isPlainObject } from '../../core/options/check.js'
import { connectionClosed, PacketReader } from '../../wire/framing.js'
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
  const any = (part: unknown): unknown => part
  checkOptions(value, { key: any, cert: any, ca: any, passphrase: any }, `${name}.`)
  try {
    contextOf(value as unknown as TlsCredentials)
  } catch {
    // OpenSSL's error does not say which of them it is about.
    throw new PgIamError(
      'ERR_OPTION_INVALID',
      `"${name}" must be a matching key and certificate as PEM text`,
    )
  }
  return value as unknown as TlsCredentials
}

interface HandshakeSettings {
  /**
   * Whether clients are asked for a certificate. A missing or untrusted one does not fail the handshake: the login checks it, and can tell
   * the client why.
   */
  readonly asksForCertificate: boolean
  /** The ALPN protocols besides `postgresql`. */
  readonly alpnProtocols: readonly string[]
}

/** Returns the upgrader for TLS 1.2 and later. The same options give the same upgrader, which keeps a TLS server of Node's. */
export function tlsUpgrader(
  tls: TlsCredentials | TlsLookup,
  settings: HandshakeSettings,
): TlsUpgrader {
  const key = JSON.stringify(settings)
  if (typeof tls !== 'function')
    return keep(upgraders, `${contentOf(tls)} ${key}`, () => createTlsUpgrader(() => tls, settings))
  const known = upgradersByLookup.get(tls)
  if (known?.key === key) return known.upgrader
  const upgrader = createTlsUpgrader(tls, settings)
  upgradersByLookup.set(tls, { upgrader, key })
  return upgrader
}

const upgraders = new Map<string, TlsUpgrader>()
const upgradersByLookup = new WeakMap<
  TlsLookup,
  { readonly upgrader: TlsUpgrader; readonly key: string }
>()

function createTlsUpgrader(lookUp: TlsLookup, settings: HandshakeSettings): TlsUpgrader {
  const shared = createTlsServer(settings)
  return {
    async upgrade(stream) {
      const serverName = await peekServerName(stream)
      const chosen = await choose(lookUp, serverName)
      if (chosen === undefined) throw refuseName(stream, serverName)
      const peer = peerOf(stream)
      // A stream without an address could not be found again in the events of a server that it shares.
      const server = peer === undefined ? createTlsServer(settings) : shared
      try {
        return await server.upgrade(stream, peer ?? '', chosen)
      } catch (error) {
        stream.destroy()
        const { code, message } = error as { code?: string; message: string }
        if (code === 'ECONNRESET') throw error
        throw refused(refusal('tls-failed', `the TLS handshake failed: ${code ?? message}`))
      }
    },
  }
}

/** Rejects with a refusal for what the function throws, or returns in place of a certificate. */
async function choose(
  lookUp: TlsLookup,
  serverName: string | undefined,
): Promise<Chosen | undefined> {
  try {
    const found = (await lookUp(serverName)) ?? undefined
    return found && { serverName, found, context: contextOf(found) }
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'it could not be found'
    throw refused(refusal('tls-failed', `there is no certificate for the client: ${reason}`))
  }
}

/** Sends the alert `unrecognized_name`: https://www.rfc-editor.org/rfc/rfc6066#section-3 */
function refuseName(stream: Duplex, serverName: string | undefined): Error {
  stream.end(Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 0x70]))
  const name = serverName === undefined ? 'no server name' : `the server name ${serverName}`
  return refused(refusal('tls-failed', `there is no certificate for ${name}`))
}

interface Chosen {
  readonly serverName: string | undefined
  readonly found: TlsCredentials
  readonly context: SecureContext
}

interface TlsServer {
  upgrade(stream: Duplex, peer: string, chosen: Chosen): Promise<TLSSocket>
}

/** This server does not listen. Emitting "connection" is the documented way to use a TLS server with an existing stream. */
function createTlsServer({ asksForCertificate, alpnProtocols }: HandshakeSettings): TlsServer {
  const waiting = new Map<string, Waiting>()
  const byName = new Map<string, SecureContext>()
  let nameless: TlsCredentials | undefined
  const settings = {
    ...SETTINGS,
    // Disables session resumption, which would skip the certificate check of another endpoint. PostgreSQL disables it too.
    ...(asksForCertificate ? { secureOptions: constants.SSL_OP_NO_TICKET } : {}),
  }
  const server: Server = createServer({
    ...settings,
    ALPNProtocols: ['postgresql', ...alpnProtocols],
    // Disabled, because the whole login has a time limit.
    handshakeTimeout: 0x7fff_ffff,
    SNICallback: (serverName, done) => done(null, byName.get(serverName)),
    requestCert: asksForCertificate,
    rejectUnauthorized: false,
  })
  server.on('secureConnection', (secured) => {
    const waiter = waiting.get(peerOf(secured) ?? '')
    if (waiter === undefined) secured.destroy()
    else waiter.resolve(secured)
  })
  server.on('tlsClientError', (error, secured) => waiting.get(peerOf(secured) ?? '')?.reject(error))

  return {
    upgrade(stream, peer, { serverName, found, context }) {
      if (serverName !== undefined) {
        byName.delete(serverName)
        keep(byName, serverName, () => context)
      } else if (!isSame(found, nameless)) {
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

/** Identifies a TCP socket in the events of its TLS server: a client may use one port for connections to several servers. */
function peerOf(stream: Duplex): string | undefined {
  if (!(stream instanceof Socket) || stream.remotePort === undefined) return undefined
  const { localAddress, localPort, remoteAddress, remotePort } = stream
  return [localAddress, localPort, remoteAddress, remotePort].join(' ')
}

// The server name of a ClientHello. Node has no function that is called for clients with and without one.

/** Reads the first TLS record and puts it back. Resolves with the server name (SNI) in it, or with `undefined`. */
async function peekServerName(stream: Duplex): Promise<string | undefined> {
  const reader = new PacketReader(stream)
  const header = await reader.read(RECORD_HEADER_BYTES)
  const length = header.readUInt16BE(3)
  const isHandshake = header[0] === HANDSHAKE_RECORD && length <= MAX_RECORD_BYTES
  const record = isHandshake ? await reader.read(length) : Buffer.alloc(0)
  stream.unshift(Buffer.concat([header, record]))
  try {
    return serverNameIn(record)
  } catch {
    // Cut short: OpenSSL reports what is wrong with it, and a name beyond the first record is not seen.
    return undefined
  }
}

const RECORD_HEADER_BYTES = 5
const HANDSHAKE_RECORD = 0x16
const MAX_RECORD_BYTES = 16_640

/** Throws a `RangeError` for a message that is cut short: https://www.rfc-editor.org/rfc/rfc8446#section-4.1.2 */
function serverNameIn(hello: Buffer): string | undefined {
  if (hello[0] !== 1) return undefined
  // The type and the length, the version, the random.
  let offset = 4 + 2 + 32
  offset += 1 + hello.readUInt8(offset) // The session ID.
  offset += 2 + hello.readUInt16BE(offset) // The cipher suites.
  offset += 1 + hello.readUInt8(offset) // The compression methods.
  const end = offset + 2 + hello.readUInt16BE(offset)
  offset += 2
  while (offset < end) {
    const type = hello.readUInt16BE(offset)
    const length = hello.readUInt16BE(offset + 2)
    offset += 4
    if (type === SERVER_NAME) {
      const nameLength = hello.readUInt16BE(offset + 3)
      return hello.toString('latin1', offset + 5, offset + 5 + nameLength) || undefined
    }
    offset += length
  }
  return undefined
}

const SERVER_NAME = 0

// Contexts, which take a millisecond to create, are kept by their content, whoever returns it.

const SETTINGS = { minVersion: 'TLSv1.2' } as const
const contexts = new Map<string, SecureContext>()

/** The last context of each object with credentials as text, so that they are not hashed for every connection. */
const contextsByObject = new WeakMap<
  TlsCredentials,
  Readonly<TlsCredentials> & { context: SecureContext }
>()

function contextOf(credentials: TlsCredentials): SecureContext {
  const { key, cert, ca, passphrase } = credentials
  const known = contextsByObject.get(credentials)
  // The caller may have changed the object, or the bytes of a buffer.
  const isUnchanged = known?.key === key && known.cert === cert && known.ca === ca
  if (isUnchanged && known.passphrase === passphrase) return known.context
  const context = keep(contexts, contentOf(credentials), () =>
    createSecureContext({ ...SETTINGS, key, cert, ca, passphrase }),
  )
  if (![key, cert, ca].some((part) => typeof part === 'object'))
    contextsByObject.set(credentials, { key, cert, ca, passphrase, context } as never)
  return context
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
