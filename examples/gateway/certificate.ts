/** Creates a certificate for the examples. In production, use your own. */
import { webcrypto } from 'node:crypto'

export interface Certificate {
  /** PEM text of the private key and the certificate, and the certificate again, which clients trust. */
  readonly key: string
  readonly cert: string
  readonly ca: string
}

/** Creates a self-signed certificate for the host names, valid for a day. */
export async function createCertificate(...names: readonly string[]): Promise<Certificate> {
  // @peculiar/x509 needs it when it is loaded.
  await import('reflect-metadata')
  const x509 = await import('@peculiar/x509')
  const signing = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(signing, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${names[0] ?? 'localhost'}`,
      notAfter: new Date(Date.now() + 86_400_000),
      keys,
      signingAlgorithm: signing,
      extensions: [
        new x509.SubjectAlternativeNameExtension(names.map((value) => ({ type: 'dns', value }))),
      ],
    },
    webcrypto,
  )
  const key = x509.PemConverter.encode(
    await webcrypto.subtle.exportKey('pkcs8', keys.privateKey),
    'PRIVATE KEY',
  )
  const cert = certificate.toString('pem')
  return { key, cert, ca: cert }
}
