/** Tokens that must be refused: an expired one, a forged one, and one for another role. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Login } from 'pg-iam'
import type { Gateway, RefusalReason } from 'pg-iam/gateway'
import { createClient } from 'pg-iam/pg'
import type { GatewayLog } from './gateway-log.js'

/** The result of a login attempt with a bad token. */
export interface Refusal {
  readonly token: string
  /** The error that the client got, or that it got none. */
  readonly clientSaw: string
  readonly gatewayLogged: string
  /** Whether the gateway refused it for the expected reason. */
  readonly isRefused: boolean
}

const EXPIRING_SECS = 3

/** A database role that the demo's credentials may not use. */
export const OTHER_ROLE = 'auditor'

export interface BadLogin {
  readonly token: string
  readonly login: Login
  readonly reason: RefusalReason
}

/** Creates the three logins. The token of the first one is valid at first and expires soon. */
export async function createBadLogins(gateway: Gateway): Promise<BadLogin[]> {
  const { accessKeyId } = gateway.credentials
  const expiring = gateway.login({ tokenDurationSecs: EXPIRING_SECS })
  const expiringToken = await expiring.token()
  const forged = gateway.login({ credentials: { accessKeyId, secretAccessKey: 'a good guess' } })
  const forApp = gateway.issueCredentials({ roles: ['app'] })
  const wrongRole = gateway.login({ user: OTHER_ROLE, credentials: forApp })
  return [
    {
      token: 'expired',
      login: { ...expiring, token: async () => untilEnded(expiringToken) },
      reason: 'token-expired',
    },
    { token: 'forged', login: forged, reason: 'signature-wrong' },
    { token: 'other role', login: wrongRole, reason: 'role-not-allowed' },
  ]
}

/** Attempts a bad login, and returns what both sides observed. */
export async function attempt(
  { token, login, reason }: BadLogin,
  log: GatewayLog,
): Promise<Refusal> {
  log.takeWarnings()
  const client = createClient(login)
  const clientSaw = await client.connect().then(() => undefined, describe)
  await client.end()
  const warnings = log.takeWarnings()
  return {
    token,
    clientSaw: clientSaw ?? 'no error: the login was accepted',
    gatewayLogged: warnings.map(({ message }) => message.replace(/^gateway: /, '')).join('; '),
    isRefused: clientSaw !== undefined && warnings.some((warning) => warning.reason === reason),
  }
}

async function untilEnded<T extends { readonly expiresAt: Date }>(token: T): Promise<T> {
  await delay(Math.max(0, token.expiresAt.getTime() - Date.now()))
  return token
}

function describe(error: unknown): string {
  // In errors of the database, pg has the fields of the server's message as properties.
  const { code, message, hint }: { code?: string; message?: string; hint?: string } = Object(error)
  return [`${code}: ${message}`, ...(hint === undefined ? [] : [`(${hint})`])].join(' ')
}
