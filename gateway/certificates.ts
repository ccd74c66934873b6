/** The gateway's certificate authority and server certificate, created at its start and held in memory only. */
import { webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import { peerError } from '../core/load-peer.js'

export interface GatewayCertificates {
  /** PEM text of the certificate authority, which clients must trust. */
  readonly ca: string
  /** PEM text of the server's certificate. */
  readonly certificate: string
  /** PEM text of the server's private key. */
  readonly privateKey: string
}

export interface CertificateOptions {
  /** Default 365. */
  validDays?: number
  /** The only names that clients may accept certificates of the authority for (RFC 5280, section 4.2.1.10). Default: all. */
  constrainedTo?: readonly string[]
}

/**
 * Creates a certificate authority and a certificate for the given DNS names and IP addresses. The private key of the authority is
 * discarded immediately, so it cannot sign further certificates.
 *
 * Rejects with `ERR_PEER_MISSING` if `@peculiar/x509` or its dependency `reflect-metadata` is not installed.
 */
export async function createCertificates(
  names: readonly string[],
  { validDays = 365, constrainedTo }: CertificateOptions = {},
): Promise<GatewayCertificates> {
  const x509 = await loadX509()
  const [authorityKeys, serverKeys] = await Promise.all([generateKeys(), generateKeys()])
  const validity = {
    // The clocks of containers and virtual machines are often several minutes slow.
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + validDays * DAY_MS),
  }
  const usage = x509.KeyUsageFlags
  const authority = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=pg-iam gateway CA',
      serialNumber: randomSerial(),
      ...validity,
      keys: authorityKeys,
      signingAlgorithm: SIGNING,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(usage.keyCertSign | usage.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(authorityKeys.publicKey, false, webcrypto),
        ...(constrainedTo === undefined
          ? []
          : [new x509.Extension('2.5.29.30', true, nameConstraints(constrainedTo))]),
      ],
    },
    webcrypto,
  )
  const server = await x509.X509CertificateGenerator.create(
    {
      // The common name is informative. Clients check the subject alternative names, and a host name can be too long for it.
      subject: 'CN=pg-iam gateway',
      issuer: authority.subject,
      serialNumber: randomSerial(),
      ...validity,
      publicKey: serverKeys.publicKey,
      signingKey: authorityKeys.privateKey,
      signingAlgorithm: SIGNING,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(usage.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
        new x509.SubjectAlternativeNameExtension(
          names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
        ),
        await x509.SubjectKeyIdentifierExtension.create(serverKeys.publicKey, false, webcrypto),
        await x509.AuthorityKeyIdentifierExtension.create(authority, false, webcrypto),
      ],
    },
    webcrypto,
  )
  return {
    ca: authority.toString('pem'),
    certificate: server.toString('pem'),
    privateKey: await exportPrivateKey(serverKeys.privateKey),
  }
}

/** DER of NameConstraints with permitted names: a DNS name permits those below it, too, and an address permits itself. */
function nameConstraints(names: readonly string[]): Buffer {
  const subtrees = names.map((name) => {
    const version = isIP(name)
    if (version === 0) return derOf(0x30, derOf(0x82, Buffer.from(name.replace(/^\*\./, ''))))
    const address = addressBytes(name, version)
    return derOf(0x30, derOf(0x87, Buffer.concat([address, Buffer.alloc(address.length, 0xff)])))
  })
  return derOf(0x30, derOf(0xa0, Buffer.concat(subtrees)))
}

function addressBytes(name: string, version: number): Buffer {
  if (version === 4) return Buffer.from(name.split('.').map(Number))
  const [head = '', tail] = name.split('::')
  const groups = (part: string | undefined): string[] => (part ? part.split(':') : [])
  const [first, last] = [groups(head), groups(tail)]
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => '0')
  const all = tail === undefined ? first : [...first, ...zeros, ...last]
  return Buffer.from(
    all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]),
  )
}

function derOf(tag: number, content: Buffer): Buffer {
  const { length } = content
  const size =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff]
  return Buffer.concat([Buffer.from([tag, ...size]), content])
}

const DAY_MS = 86_400_000
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const

async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  // @peculiar/x509 needs this polyfill when it is loaded.
  try {
    await import('reflect-metadata')
    return await import('@peculiar/x509')
  } catch (error) {
    throw peerError(error, 'reflect-metadata', '@peculiar/x509')
  }
}

/** P-256 takes a tenth of the time of RSA in each handshake, and every TLS library supports it. */
function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ])
}

async function exportPrivateKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key))
  const lines = der.toString('base64').match(/.{1,64}/g) ?? []
  return `-----BEGIN PRIVATE KEY-----\n${lines.join('\n')}\n-----END PRIVATE KEY-----\n`
}

/** A positive number of at most 20 bytes: RFC 5280, section 4.1.2.2 */
function randomSerial(): string {
  const bytes = webcrypto.getRandomValues(Buffer.alloc(16))
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return bytes.toString('hex')
}
