/** Logins with a TLS certificate of the client. */
import type { LoginMethod } from '../login-method.js'
import { fatal } from '../refusal.js'
import { accepted, denied } from '../verifier.js'

/**
 * The role must be the certificate's common name, as with PostgreSQL's method `cert`, whose words these are. A certificate that
 * is not to be trusted ends PostgreSQL's TLS without a word; here the client is told.
 */
export const clientCertificate: LoginMethod = {
  authenticate({ role }, client) {
    const certificate = client.certificate()
    const invalid = fatal('28000', 'connection requires a valid client certificate')
    if (certificate === undefined)
      return denied('certificate-missing', 'the client showed no certificate', invalid)
    const { commonName, fault } = certificate
    if (fault === 'CERT_HAS_EXPIRED' || fault === 'CERT_NOT_YET_VALID')
      return denied('certificate-expired', 'the client certificate is not valid now', invalid)
    if (fault !== undefined)
      return denied(
        'certificate-untrusted',
        `the client certificate is not of the authorities of this endpoint: ${fault}`,
        invalid,
      )
    if (commonName !== role)
      return denied(
        'certificate-wrong',
        'the common name of the client certificate is not the role',
        fatal('28000', `certificate authentication failed for user "${role}"`),
      )
    return accepted(commonName)
  },
}
