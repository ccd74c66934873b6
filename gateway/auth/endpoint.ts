/** What the gateway stands for: one database of a provider, or several that are logged in to in the same way. */
import type { Check } from '../../core/options/check.js'
import type { ProviderAnswers } from './answers.js'
import type { Principals } from './aws/principals.js'
import type { EndpointOptions, EndpointProvider } from './endpoints.js'
import type { LoginMethod } from './login-method.js'
import type { ServerError } from '../wire/server-error.js'

/** What every entry of `endpoints` has. */
export interface CommonEndpointOptions {
  /** The host names that clients know the database by, at least one. TLS is verified for them. */
  hosts: readonly string[]
  /**
   * A port for a listener of its own; 0 takes a free one. Default: the gateway's own listener, where the server name of the
   * client's TLS handshake chooses the endpoint.
   */
  listen?: number
}

/** How one provider's entries are checked, and their logins after them. */
export interface EndpointDefinition<Options extends EndpointOptions> {
  readonly check: Check<Options>
  /** The roles that the options name, which then exist by default. */
  roles(options: Options): readonly string[]
  create(options: Options, surroundings: Surroundings): EndpointLogins
}

/** What an endpoint gets from its gateway. */
export interface Surroundings {
  /** The principals of the gateway, for endpoints that have none of their own. */
  readonly principals: Principals
  /** Epoch milliseconds. */
  readonly clock: () => number
}

/** The logins of one endpoint. */
export interface EndpointLogins {
  readonly method: LoginMethod
  readonly answers: ProviderAnswers
  /** The roles that it may let in, as far as it can tell beforehand. */
  readonly roles: readonly string[]
  /** The AWS principals that may log in. */
  readonly principals?: Principals
  /** PEM text of the authorities whose client certificates are good. */
  readonly clientAuthority?: string
  /** Loads the packages that its logins need, so that a missing one is known when the gateway starts. */
  readonly prepare?: () => Promise<unknown>
  /** Where sessions differ from those of a PostgreSQL. */
  readonly rules?: SessionRules
  /** What `gateway.login()` gives to the provider's own login function beside address, user, database and TLS. */
  readonly loginOptions: Readonly<Record<string, unknown>>
}

/** What the sessions of an endpoint may not ask for, and what they have without asking. */
export interface SessionRules {
  /** The startup parameters that the engine gets, or why the login is refused. */
  startup(parameters: ReadonlyMap<string, string>): ReadonlyMap<string, string> | ServerError
  /** What the engine gets in place of whole messages of the client. */
  statements(messages: Buffer): Buffer
}

export interface Endpoint extends EndpointLogins {
  readonly provider: EndpointProvider
  readonly hosts: readonly string[]
  /** The port of a listener of its own; 0 takes a free one. */
  readonly listen: number | undefined
}
