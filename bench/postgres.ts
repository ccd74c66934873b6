/**
 * A PostgreSQL server for a benchmark. It uses TLS itself, so that competitors connect to it directly.
 *
 * PostgreSQL cannot verify the tokens of cloud providers, so there are two roles. The first one logs in with a clear-text password over TLS,
 * like with a provider's token: for a static password, and for a pg-iam login whose token is that password. The second one logs in without
 * a password, for competitors that sign their own tokens. All competitors of a comparison use the same role.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import type { Login, TlsNegotiation } from '../core/index.js'
import { createCertificates } from '../gateway/certificates.js'
import { launchPostgres } from '../test/support/launch-postgres.js'
import { type Build, ourOptions, RDS_HOST } from './benchmark.js'

export interface TlsPostgres {
  /** Logs in with the password, as an application passes it to its driver. */
  readonly passwordLogin: StaticLogin
  /** Logs in without a password. */
  readonly openLogin: StaticLogin
  /** A role with the rights of `passwordLogin`, whose password is also checked on the Unix socket: for a relay in front of it. */
  readonly relayedUser: string
  /** A pg-iam login whose token is the password. Default: the server's port, and TLS after an SSLRequest, as the driver's own. */
  ourLogin(build: Build, settings?: { port?: number; negotiation?: TlsNegotiation }): Promise<Login>
  /** The directory of PostgreSQL's programs. */
  readonly binDirectory: string
  /** The directory of the Unix socket, where no role needs a password. It is removed with the server. */
  readonly socketDirectory: string
  /** Resolves when all backends of these roles have ended. */
  untilQuiet(): Promise<void>
  close(): Promise<void>
}

export interface StaticLogin {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string
  readonly database: string
  readonly ssl: { readonly ca: string; readonly servername: string; rejectUnauthorized: true }
}

export async function startTlsPostgres(): Promise<TlsPostgres> {
  const { ca, certificate, privateKey } = await createCertificates([RDS_HOST])
  const postgres = await launchPostgres({
    roles: [PASSWORD_ROLE, OPEN_ROLE, RELAYED_ROLE],
    settings: {
      // The server's password check should not affect the measurement: with MD5 it takes almost no time.
      password_encryption: 'md5',
    },
    tls: { certificate, privateKey },
    accessRules: [
      `hostssl all ${PASSWORD_ROLE} all password`,
      `hostssl all ${OPEN_ROLE} all trust`,
      `local all ${RELAYED_ROLE} password`,
      'host all all all reject',
    ],
  })
  const { port, database, password, socketDirectory, binDirectory, superuser } = postgres
  const admin = new Client({ host: socketDirectory, port, user: superuser, database, ssl: false })
  const close = async (): Promise<void> => {
    await admin.end()
    await postgres.close()
  }
  try {
    await admin.connect()
    await admin.query(`GRANT ${PASSWORD_ROLE} TO ${RELAYED_ROLE}, ${OPEN_ROLE}`)
  } catch (error) {
    await close()
    throw error
  }
  // The address is used directly, and the name is verified, to avoid name resolution.
  const loginOf = (user: string): StaticLogin => ({
    host: '127.0.0.1',
    port,
    user,
    password,
    database,
    ssl: { ca, servername: RDS_HOST, rejectUnauthorized: true },
  })
  return {
    passwordLogin: loginOf(PASSWORD_ROLE),
    openLogin: loginOf(OPEN_ROLE),
    relayedUser: RELAYED_ROLE,
    socketDirectory,
    binDirectory,
    async ourLogin(build, { port: dialled = port, negotiation = 'postgres' } = {}) {
      const { customLogin } = await build('core')
      const { tls, ...options } = ourOptions({ ...loginOf(PASSWORD_ROLE), port: dialled })
      return customLogin({ ...options, tls: { ...tls, negotiation }, getToken: () => password })
    },
    async untilQuiet() {
      for (;;) {
        const { rows } = await admin.query(SESSIONS, [[PASSWORD_ROLE, OPEN_ROLE, RELAYED_ROLE]])
        if (rows.length === 0) return
        await delay(POLL_MS)
      }
    },
    close,
  }
}

const PASSWORD_ROLE = 'with_password'
const OPEN_ROLE = 'without_question'
const RELAYED_ROLE = 'relayed'

const POLL_MS = 5
const SESSIONS = 'SELECT FROM pg_stat_activity WHERE usename = ANY($1) LIMIT 1'
