/** The providers that the gateway can stand for, and its endpoints. */
import { isPlainObject, invalidOption, oneOf, type Check } from '../../core/options/check.js'
import { auroraDsqlEndpoint, type AuroraDsqlEndpoint } from './aurora-dsql/endpoint.js'
import { rolesOf, type PrincipalOptions } from './aws/principals.js'
import { certificateEndpoint, type CertificateEndpoint } from './certificate/endpoint.js'
import { cloudSqlEndpoint, type CloudSqlEndpoint } from './cloud-sql/endpoint.js'
import type { Endpoint, EndpointDefinition, Surroundings } from './endpoint.js'
import { entraEndpoint, type EntraEndpoint } from './entra/endpoint.js'
import { noneEndpoint, type NoneEndpoint } from './none/endpoint.js'
import { passwordEndpoint, type PasswordEndpoint } from './password/endpoint.js'
import { rdsEndpoint, type RdsEndpoint } from './rds/endpoint.js'

/** What the gateway stands for, told apart by `provider`. */
export type EndpointOptions =
  | AuroraDsqlEndpoint
  | RdsEndpoint
  | EntraEndpoint
  | CloudSqlEndpoint
  | PasswordEndpoint
  | CertificateEndpoint
  | NoneEndpoint

export type EndpointProvider = EndpointOptions['provider']

/** One line for each provider; its union member above is all that it needs besides. */
const DEFINITIONS: {
  readonly [P in EndpointProvider]: EndpointDefinition<Extract<EndpointOptions, { provider: P }>>
} = {
  'aurora-dsql': auroraDsqlEndpoint,
  rds: rdsEndpoint,
  entra: entraEndpoint,
  'cloud-sql': cloudSqlEndpoint,
  password: passwordEndpoint,
  certificate: certificateEndpoint,
  none: noneEndpoint,
}

/** Sets up what an entry of `endpoints` asks for. */
export function createEndpoint(options: EndpointOptions, surroundings: Surroundings): Endpoint {
  const { provider, hosts, listen } = options
  return { provider, hosts, listen, ...definitionOf(provider).create(options, surroundings) }
}

/** The check of an entry of `endpoints`, by its provider. */
export const endpointOptions: Check<EndpointOptions> = (value, name) => {
  if (!isPlainObject(value)) throw invalidOption(name, 'an object', value)
  const provider = providerName(value['provider'], `${name}.provider`)
  return definitionOf(provider).check(value, name)
}

/** All roles that somebody may log in as, as far as the options say. */
export function rolesNamedIn(
  endpoints: readonly EndpointOptions[],
  principals: readonly PrincipalOptions[] = [],
): string[] {
  const named = endpoints.flatMap((options) => definitionOf(options.provider).roles(options))
  return [...rolesOf(principals), ...named]
}

const providerName: Check<EndpointProvider> = oneOf(
  ...(Object.keys(DEFINITIONS) as EndpointProvider[]),
)

/** TypeScript does not see that a definition goes with the options of the same provider. */
function definitionOf(provider: EndpointProvider): EndpointDefinition<EndpointOptions> {
  return DEFINITIONS[provider] as EndpointDefinition<EndpointOptions>
}
