/**
 * One PostgreSQL that speaks TLS, for static passwords and for tokens alike: nothing stands between any competitor and it.
 *
 * PostgreSQL cannot check the tokens of a cloud, so there are two roles. One logs in with a password in clear text over TLS,
 * as with a cloud's tokens: for a static password, and for a login of pg-iam whose token is that password. The other is let in
 * without a question: for competitors that sign tokens of their own. All competitors of a comparison use one role.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { Client } from 'pg'
import type { CommonOptions } from '../../core/options/common-options.js'
import { createCertificates } from '../../gateway/certificates/gateway-certificates.js'
import { launchPostgres } from '../../test/support/launch-postgres.js'
import type { BenchContext } from '../frame/benchmark.js'

export interface TlsPostgres {
  /** Logs in with the password. */
  readonly passwordRole: string
  /** Is not asked for a password. */
  readonly openRole: string
  /** Where it is, and what an application with a static password gives to its driver. */
  staticLogin(role: string): StaticLogin
  /** The same for a login of pg-iam. */
  loginOptions(role: string): LoginOptions
  readonly password: string
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
  readonly ssl: {
    readonly ca: string
    readonly servername: string
    readonly rejectUnauthorized: true
  }
}

export type LoginOptions = Required<
  Pick<CommonOptions, 'host' | 'connectTo' | 'user' | 'database' | 'tls'>
>

/** @param host the name that the server's certificate is for, and that a token is signed for */
export async function startTlsPostgres(
  { uses }: BenchContext,
  host: string = SERVER_NAME,
): Promise<TlsPostgres> {
  const { ca, certificate, privateKey } = await createCertificates([host])
  const postgres = await launchPostgres({
    roles: [PASSWORD_ROLE, OPEN_ROLE],
    settings: SETTINGS,
    tls: { certificate, privateKey },
    accessRules: [
      `hostssl all ${PASSWORD_ROLE} all password`,
      `hostssl all ${OPEN_ROLE} all trust`,
      'host all all all reject',
    ],
  })
  const { port, database, password, socketDirectory, superuser } = postgres
  const admin = new Client({ host: socketDirectory, port, user: superuser, database, ssl: false })
  const close = async (): Promise<void> => {
    await admin.end()
    await postgres.close()
  }
  try {
    await admin.connect()
    const { rows } = await admin.query<{ server_version: string }>('SHOW server_version')
    uses('PostgreSQL', rows[0]!.server_version)
  } catch (error) {
    await close()
    throw error
  }
  return {
    passwordRole: PASSWORD_ROLE,
    openRole: OPEN_ROLE,
    password,
    socketDirectory,
    // The address is dialled as it is, and the name is verified: nobody waits for a resolver.
    staticLogin: (user) => ({
      host: ADDRESS,
      port,
      user,
      password,
      database,
      ssl: { ca, servername: host, rejectUnauthorized: true },
    }),
    loginOptions: (user) => ({
      host,
      connectTo: { host: ADDRESS, port },
      user,
      database,
      tls: { ca },
    }),
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

const SERVER_NAME = 'postgres.bench.internal'
const ADDRESS = '127.0.0.1'
const PASSWORD_ROLE = 'with_password'
const OPEN_ROLE = 'without_question'

const SETTINGS = {
  max_connections: '500',
  // What the server does to check a password is not what is measured: by MD5 it does next to nothing.
  password_encryption: 'md5',
}

const POLL_MS = 5
const SESSIONS = 'SELECT FROM pg_stat_activity WHERE usename = ANY($1) LIMIT 1'
