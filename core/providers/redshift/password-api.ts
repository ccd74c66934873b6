/** What the two APIs of Redshift that give passwords have in common. */
import type { AwsCredentials } from '../aws/credentials.js'
import type { PartNames, Received } from '../../tokens/received-token.js'

export interface PasswordRequest {
  host: string
  region: string
  /** `undefined` where the host is a custom domain name. */
  name: string | undefined
  database: string
  /** The user to be, where it is one of the caller's choice. */
  chosen: ChosenUser | undefined
  durationSecs: number
  credentials: AwsCredentials
  signal: AbortSignal
}

/** A database user of a provisioned cluster. */
export interface ChosenUser {
  user: string
  groups: readonly string[] | undefined
  /** Whether it is made where it does not exist. */
  create: boolean
}

export interface PasswordApi {
  ask(request: PasswordRequest): Promise<Received>
  /** How the API calls the parts of its answer. */
  readonly names: PartNames
  /** What to do about an error of the service, or `undefined` for one that says enough. */
  explain(
    error: unknown,
    place: Pick<PasswordRequest, 'name' | 'database' | 'region' | 'chosen'>,
  ): string | undefined
}

/** Tells errors of the AWS SDK by their names, of which the services have several for one thing. */
export function isNamed(error: unknown, ...names: readonly string[]): boolean {
  const { name } = (error ?? {}) as { name?: unknown }
  return names.some((known) => known === name)
}

export const ACCESS_DENIED = [
  'AccessDenied',
  'AccessDeniedException',
  'UnauthorizedOperation',
] as const
