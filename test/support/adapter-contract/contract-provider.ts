/** What the contract needs of a provider: its side of the gateway, and logins whose credentials a test holds in its hand. */
import type { CommonOptions, Login, ProviderName } from '../../../core/index.js'
import type { Gateway, GatewayOptions } from '../../../gateway/index.js'
import type { Failure } from './failures.js'

export interface ContractProvider {
  readonly name: ProviderName
  /** Whether connections that are opened within a minute share a token. */
  readonly sharesTokens: boolean
  /** The SQLSTATE of the server's refusal of a token that is not good. */
  readonly refusedWith: string
  /** Every way in which a request for credentials can fail. */
  readonly failures: readonly Failure[]
  /** The provider's own function; the credentials of the login are what `request` gives, each time that they are asked for. */
  login(options: CommonOptions, request: Request): Login
  /** Starts what issues tokens or credentials, beside the gateway. */
  start(): Promise<ProviderStand>
}

/** Gives what a request for credentials resolves with: an `Issued.given`, or something that is wrong. */
export type Request = () => unknown

export interface ProviderStand {
  /** What the gateway stands for. */
  readonly gatewayOptions: GatewayOptions
  /** Where its logins go, and as whom. */
  readonly options: CommonOptions & { readonly host: string }
  /** The database role that they get. */
  readonly role: string
  /** What the SDK of the provider reads from the environment of a process. */
  readonly environment: Readonly<Record<string, string>>
  /** Issues credentials. */
  issue(gateway: Gateway, life: Life): Promise<Issued>
  /** Issues some that can be sent to another process as JSON, and last. */
  issueForever(gateway: Gateway): Promise<unknown>
  /** Watches the tokens that are made from now on; the function that it returns gives those parts of them that are secret. */
  watchSecrets(): () => readonly string[]
  close(): Promise<void>
}

export interface Life {
  readonly durationSecs: number
}

export interface Issued {
  readonly given: unknown
  /** Has the gateway refuse what is made with them. */
  revoke(): void
  /** What of them must not be seen. */
  readonly secrets: readonly string[]
}
