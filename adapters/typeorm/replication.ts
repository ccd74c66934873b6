/** The `replication` option of TypeORM, with logins in the place of addresses. */
import type { Pool, PoolConfig } from 'pg'
import {
  createStreamFactory,
  loginOfFactory,
  markWithLogin,
} from '../../core/connection/stream-factory.js'
import { PgIamError } from '../../core/errors.js'
import type { Login } from '../../core/login.js'
import { loginOf, type LoginOrUrl } from '../../core/login-from.js'
import { checkOptions, invalidOption, oneOf, type Check } from '../../core/options/check.js'
import type { VerifiedTls } from '../../core/tls/verified-tls.js'
import { drawnLifetime } from '../pg/drawn-lifetime.js'

/** Where TypeORM reads from; it writes to the login that is given first. */
export interface TypeormReplication {
  /** The logins of the replicas, or of one reader endpoint, or their URLs. Without any TypeORM reads from the writer, too. */
  slaves: readonly LoginOrUrl[]
  /** Where SELECT queries go by themselves. Default: TypeORM's, `'slave'`. */
  defaultMode?: 'master' | 'slave'
}

/** The same, with a login for each. */
interface CheckedReplication extends TypeormReplication {
  slaves: readonly Login[]
}

/** Throws `ERR_OPTION_INVALID` or `ERR_OPTION_CONFLICT`. */
export function checkReplication(given: unknown): CheckedReplication | undefined {
  if (given === undefined) return undefined
  const { slaves, defaultMode } = checkOptions(given, CHECKS, 'replication.')
  if (slaves === undefined) throw invalidOption('replication.slaves', LOGINS, undefined)
  return { slaves, ...(defaultMode === undefined ? {} : { defaultMode }) }
}

/** Where TypeORM finds the server of a login. */
export function addressOf(login: Login): TypeormAddress {
  return {
    host: login.host,
    port: login.port,
    database: login.database,
    ...(login.user === undefined ? {} : { username: login.user }),
    ssl: false,
  }
}

export interface TypeormAddress {
  host: string
  port: number
  database: string
  username?: string
  ssl: false
}

/** The option as TypeORM takes it, where there is to be replication. */
export function replicated(
  writer: Login,
  replication: CheckedReplication | undefined,
): { replication?: ReplicationOption } {
  if (replication === undefined) return {}
  const { slaves, defaultMode } = replication
  return {
    replication: {
      master: serverOf(writer),
      slaves: slaves.map(serverOf),
      ...(defaultMode === undefined ? {} : { defaultMode }),
    },
  }
}

interface ReplicationOption {
  master: TypeormServer
  slaves: TypeormServer[]
  defaultMode?: 'master' | 'slave'
}

interface TypeormServer extends TypeormAddress {
  password: () => Promise<string>
}

/**
 * TypeORM gives all pools the same `extra`, and with it the same socket. So a password function, which is never called, tells
 * {@link poolOfLogins} whose socket this one is to have.
 */
function serverOf(login: Login): TypeormServer {
  return { ...addressOf(login), password: markWithLogin(() => login.password(), login) }
}

/** Returns a pool that has its connections from the login which its password function is marked with. */
export function poolOfLogins(
  BasePool: typeof Pool,
  tlsOf: (login: Login) => VerifiedTls,
  given: readonly string[],
): typeof Pool {
  return class PoolOfLogin extends BasePool {
    constructor(config: PoolConfig = {}) {
      const login = loginOfFactory(config.password)
      super(login === undefined ? config : withLogin(config, login, tlsOf(login), given))
    }
  }
}

function withLogin(
  config: PoolConfig,
  login: Login,
  tls: VerifiedTls,
  given: readonly string[],
): PoolConfig {
  const { password: _mark, maxLifetimeSeconds, ...rest } = config
  // A number is the caller's own; what is drawn, from the login of the writer, is an object.
  const isGiven = typeof maxLifetimeSeconds === 'number'
  return {
    ...rest,
    ...(isGiven ? { maxLifetimeSeconds } : drawnLifetime(login)),
    stream: createStreamFactory(login, { tls, given }),
  }
}

const LOGINS = 'a list of logins, such as rds() returns'

const slaves: Check<readonly Login[]> = (value, name) => {
  if (!Array.isArray(value)) throw invalidOption(name, LOGINS, value)
  return value.map((each, index) => loginOf(each as LoginOrUrl, `${name}[${index}]`))
}

const master: Check<never> = (_value, name) => {
  throw new PgIamError('ERR_OPTION_CONFLICT', `"${name}" must not be given beside a login`, {
    hint: 'Give the login of the writer first, and those of the replicas as replication: { slaves: [login] }.',
  })
}

const CHECKS = { master, slaves, defaultMode: oneOf('master', 'slave') } as const
