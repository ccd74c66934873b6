/** Endpoints where the client's TLS certificate is all that is asked for, and its common name is the role. */
import { checkOptions, oneOf } from '../../../core/options/check.js'
import { certificateAuthority } from '../../../core/tls/certificate-authority.js'
import { POSTGRES_ANSWERS } from '../answers.js'
import type { CommonEndpointOptions, EndpointDefinition } from '../endpoint.js'
import { COMMON_ENDPOINT_CHECKS, requiredOption } from '../endpoint-options.js'
import { clientCertificate } from './client-certificate.js'

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
    answers: POSTGRES_ANSWERS,
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
