/** Endpoints where the client's TLS certificate is all that is asked for, and its common name is the role. */
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
  /** The authorities whose client certificates are good: PEM text, or the path of a file of it. */
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

// Logins with a TLS certificate of the client.

/**
 * The role must be the certificate's common name, as with PostgreSQL's method `cert`, whose words these are. A certificate that
 * is not to be trusted ends PostgreSQL's TLS without a word; here the client is told.
 */
const clientCertificate: LoginMethod = {
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
