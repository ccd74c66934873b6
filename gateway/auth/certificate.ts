/** Endpoints that authenticate clients by their TLS certificate, whose common name is the role. */
import { checkOptions, oneOf } from '../../core/options/check.js'
import { certificateAuthority } from '../../core/tls.js'
import {
  COMMON_ENDPOINT_CHECKS,
  type CommonEndpointOptions,
  type EndpointDefinition,
  requiredOption,
} from './endpoint.js'
import { fatal, POSTGRES_ERRORS } from './refusal.js'
import { accepted, denied, type LoginMethod } from './verifier.js'

export interface CertificateEndpoint extends CommonEndpointOptions {
  provider: 'certificate'
  /** The certificate authorities of the accepted client certificates: PEM text, or the path of a PEM file. */
  ca: string
}

export const certificateEndpoint: EndpointDefinition<CertificateEndpoint> = {
  check(value, name) {
    const given = checkOptions(value, CHECKS, `${name}.`)
    return {
      ...given,
      provider: 'certificate',
      hosts: requiredOption(given.hosts, `${name}.hosts`),
      ca: requiredOption(given.ca, `${name}.ca`),
    }
  },
  roles: () => [],
  create: ({ ca }) => ({
    method: clientCertificate,
    errors: POSTGRES_ERRORS,
    roles: [],
    clientAuthority: ca,
    loginOptions: {},
  }),
}

const CHECKS = {
  ...COMMON_ENDPOINT_CHECKS,
  provider: oneOf('certificate'),
  ca: certificateAuthority,
} as const

// Logins with a client certificate.

/**
 * The role must be the certificate's common name, as with PostgreSQL's method `cert`. The error texts are PostgreSQL's. For an
 * untrusted certificate PostgreSQL aborts the TLS handshake; the gateway sends an error instead.
 */
export const clientCertificate: LoginMethod = {
  authenticate({ role }, client) {
    const certificate = client.certificate()
    const invalid = fatal('28000', 'connection requires a valid client certificate')
    if (certificate === undefined)
      return denied('certificate-missing', 'the client sent no certificate', invalid)
    const { commonName, fault } = certificate
    if (fault === 'CERT_HAS_EXPIRED' || fault === 'CERT_NOT_YET_VALID')
      return denied(
        'certificate-expired',
        'the client certificate has expired or is not yet valid',
        invalid,
      )
    if (fault !== undefined)
      return denied(
        'certificate-untrusted',
        `the client certificate is not signed by an authority of this endpoint: ${fault}`,
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
