/**
 * A PostgreSQL that is started for a benchmark and speaks TLS itself: nothing stands between it and a competitor.
 *
 * PostgreSQL cannot check the tokens of a cloud, so there are two roles. One logs in with a password in clear text over TLS,
 * as with a cloud's tokens: for a static password, and for a login of pg-iam whose token is that password. The other is let in
 * without a question: for competitors that sign tokens of their own. All competitors of a comparison use one role.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import type { Login } from '../core/index.js'
import { createCertificates } from '../gateway/certificates.js'
import { launchPostgres } from '../test/support/launch-postgres.js'
import { type Build, ourOptions, RDS_HOST } from './benchmark.js'

export interface TlsPostgres {
  /** Logs in with the password, as an application gives it to its driver. */
  readonly passwordLogin: StaticLogin
  /** Is not asked for a password. */
  readonly openLogin: StaticLogin
  /** A login of pg-iam whose token is the password. */
  ourLogin(build: Build): Promise<Login>
  /** Where programs of PostgreSQL are. */
  readonly binDirectory: string
  /** Holds its Unix socket, where every role is let in without a question; it goes with the server. */
  readonly socketDirectory: string
  /** Resolves when all connections of both roles have ended at the server, too. */
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
    roles: [PASSWORD_ROLE, OPEN_ROLE],
    settings: {
      // `scale` opens a thousand.
      max_connections: '1050',
      // What the server does to check a password is not what is measured: by MD5 it does next to nothing.
      password_encryption: 'md5',
    },
    tls: { certificate, privateKey },
    accessRules: [
      `hostssl all ${PASSWORD_ROLE} all password`,
      `hostssl all ${OPEN_ROLE} all trust`,
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
  } catch (error) {
    await close()
    throw error
  }
  // The address is dialled as it is, and the name is verified: nobody waits for a resolver.
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
    socketDirectory,
    binDirectory,
    async ourLogin(build) {
      const { customLogin } = await build('core')
      return customLogin({ ...ourOptions(loginOf(PASSWORD_ROLE)), getToken: () => password })
    },
    async untilQuiet() {
      for (;;) {
        const { rows } = await admin.query(SESSIONS, [[PASSWORD_ROLE, OPEN_ROLE]])
        if (rows.length === 0) return
        await delay(POLL_MS)
      }
    },
    close,
  }
}

const PASSWORD_ROLE = 'with_password'
const OPEN_ROLE = 'without_question'

const POLL_MS = 5
const SESSIONS = 'SELECT FROM pg_stat_activity WHERE usename = ANY($1) LIMIT 1'
