/** Certificates for test servers, created for each test. */
import { webcrypto } from 'node:crypto'
import { isIP } from 'node:net'

/** A certificate and its key, as PEM text. */
export interface KeyPair {
  cert: string
  key: string
}

export interface Authority {
  /** PEM text, for clients to trust. */
  ca: string
  /** A certificate for all of `names`, which are host names or IP addresses. */
  issue(...names: string[]): Promise<KeyPair>
  /** A certificate with this common name, as for Cloud SQL. Older ones have no other name. */
  issueNamed(commonName: string, ...names: string[]): Promise<KeyPair>
  /** A certificate with this common name that expired yesterday. */
  issueEnded(commonName: string): Promise<KeyPair>
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const DAY_MS = 86_400_000

/** Creates a CA that is not trusted by default. */
export async function createAuthority(name = 'Test authority'): Promise<Authority> {
  const x509 = await loadX509()
  const keys = await generateKeys()
  const validity = {
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
  }
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: '01',
      name: `CN=${name}`,
      ...validity,
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  )
  let serial = 1
  const issue = async (
    commonName: string,
    names: readonly string[],
    { notBefore, notAfter } = validity,
  ): Promise<KeyPair> => {
    const leaf = await generateKeys()
    const alternativeNames = new x509.SubjectAlternativeNameExtension(
      names.map((value) => ({ type: isIP(value) === 0 ? 'dns' : 'ip', value })),
    )
    const issued = await x509.X509CertificateGenerator.create(
      {
        serialNumber: (++serial).toString(16).padStart(2, '0'),
        subject: [{ CN: [commonName] }],
        issuer: certificate.subject,
        notBefore,
        notAfter,
        publicKey: leaf.publicKey,
        signingKey: keys.privateKey,
        signingAlgorithm: ALGORITHM,
        extensions: [
          new x509.BasicConstraintsExtension(false),
          ...(names.length === 0 ? [] : [alternativeNames]),
          await x509.AuthorityKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        ],
      },
      webcrypto,
    )
    const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', leaf.privateKey)
    return { cert: issued.toString('pem'), key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') }
  }
  return {
    ca: certificate.toString('pem'),
    issue: (...names) => issue('Test server', names),
    issueNamed: (commonName, ...names) => issue(commonName, names),
    issueEnded: (commonName) =>
      issue(commonName, [], {
        notBefore: new Date(Date.now() - 2 * DAY_MS),
        notAfter: validity.notBefore,
      }),
  }
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
}

async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  // The library requires this polyfill when it is loaded.
  await import('reflect-metadata')
  return import('@peculiar/x509')
}
