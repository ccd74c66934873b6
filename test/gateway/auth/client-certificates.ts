/** Client certificates from an authority that is created for the tests. */
import { webcrypto } from 'node:crypto'

interface ClientKeyPair {
  cert: string
  key: string
}

export interface ClientAuthority {
  /** PEM text. */
  ca: string
  /** @param days the validity from now on; it started two days ago */
  issue(subject: string, days?: number): Promise<ClientKeyPair>
}

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const DAY_MS = 86_400_000

export async function createClientAuthority(name: string): Promise<ClientAuthority> {
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  const generateKeys = (): Promise<webcrypto.CryptoKeyPair> =>
    webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
  const validity = (days: number): { notBefore: Date; notAfter: Date } => ({
    notBefore: new Date(Date.now() - 2 * DAY_MS),
    notAfter: new Date(Date.now() + days * DAY_MS),
  })
  const keys = await generateKeys()
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: '01',
      name: `CN=${name}`,
      ...validity(1),
      keys,
      signingAlgorithm: ALGORITHM,
      extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
    },
    webcrypto,
  )
  let serial = 1
  return {
    ca: certificate.toString('pem'),
    async issue(subject, days = 1) {
      const leaf = await generateKeys()
      const issued = await x509.X509CertificateGenerator.create(
        {
          serialNumber: (++serial).toString(16).padStart(2, '0'),
          subject,
          issuer: certificate.subject,
          ...validity(days),
          publicKey: leaf.publicKey,
          signingKey: keys.privateKey,
          signingAlgorithm: ALGORITHM,
          extensions: [new x509.BasicConstraintsExtension(false)],
        },
        webcrypto,
      )
      const pkcs8 = await webcrypto.subtle.exportKey('pkcs8', leaf.privateKey)
      return { cert: issued.toString('pem'), key: x509.PemConverter.encode(pkcs8, 'PRIVATE KEY') }
    },
  }
}
