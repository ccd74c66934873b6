/** The interface of providers for the contract: its gateway endpoint, and logins whose credentials a test controls. */
import type { CommonOptions, Login, ProviderName } from '../../../core/index.js'
import type { Gateway, GatewayOptions } from '../../../gateway/index.js'
import type { Failure } from './failures.js'

export interface ContractProvider {
  readonly name: ProviderName
  /** Whether connections that are opened within a minute share a token. */
  readonly sharesTokens: boolean
  /** The SQLSTATE with which the server refuses an invalid token. */
  readonly refusedWith: string
  /** All ways in which a request for credentials can fail. */
  readonly failures: readonly Failure[]
  /** The provider's login function. `request` returns the credentials, and is called each time they are requested. */
  login(options: CommonOptions, request: Request): Login
  /** Starts the issuer of tokens or credentials. */
  start(): Promise<ProviderStand>
}

/** Returns the result of a request for credentials: an `Issued.given`, or an invalid value. */
export type Request = () => unknown

export interface ProviderStand {
  /** The endpoint of the gateway. */
  readonly gatewayOptions: GatewayOptions
  /** The address and user of its logins. */
  readonly options: CommonOptions & { readonly host: string }
  /** The database role that they get. */
  readonly role: string
  /** The environment variables that the provider's SDK reads. */
  readonly environment: Readonly<Record<string, string>>
  /** Issues credentials. */
  issue(gateway: Gateway, life: Life): Promise<Issued>
  /** Issues credentials that can be sent to another process as JSON and do not expire during a test. */
  issueForever(gateway: Gateway): Promise<unknown>
  /** Records tokens that are created from now on. The returned function returns their secret parts. */
  watchSecrets(): () => readonly string[]
  close(): Promise<void>
}

export interface Life {
  readonly durationSecs: number
}

export interface Issued {
  readonly given: unknown
  /** Makes the gateway refuse tokens of these credentials. */
  revoke(): void
  /** The secrets that must not be exposed. */
  readonly secrets: readonly string[]
}
