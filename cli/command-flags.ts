/** The flags of each command, beside those of the target. */
import { hostName, matching, oneOf, secureUrl, text } from '../core/options/check.js'
import { addressFlag, type Flag, integerFlag, numberFlag } from './target.js'

export const TOKEN_FLAGS: readonly Flag[] = [
  { name: 'url', description: 'print a postgres:// URL with the token as its password' },
  { name: 'decode', description: 'print what the token says, without its signature' },
]

export const LOGIN_FLAGS: readonly Flag[] = [
  {
    name: 'issuer',
    value: 'URL',
    description: 'the identity provider: an OpenID Connect issuer',
    check: secureUrl,
  },
  {
    name: 'client-id',
    value: 'ID',
    description: 'a public client there, whose redirect URI is http://127.0.0.1/callback',
    check: text,
  },
  {
    name: 'scope',
    value: 'NAME',
    description: 'scope to request, several times; default openid, and offline_access if offered',
    check: text,
    isList: true,
  },
  { name: 'device', description: 'sign in with a code in the browser of another device' },
  {
    name: 'role',
    value: 'ARN',
    description: 'AWS role to assume as the user (AssumeRoleWithWebIdentity)',
    check: matching(/^arn:[\w-]+:iam::\d{12}:role\/[\u0021-\u007e]+$/, 'the ARN of a role'),
  },
  { name: 'region', value: 'REGION', description: 'region of AWS STS', check: text },
  {
    name: 'sts-endpoint',
    value: 'URL',
    description: 'URL of AWS STS, such as that of a gateway',
    check: secureUrl,
  },
]

/** How the proxy serves its clients: of `proxy` and of `exec`. */
export const LISTEN_FLAGS: readonly Flag[] = [
  { name: 'check', description: 'log in once before clients are accepted' },
  {
    name: 'strict',
    description: 'Aurora DSQL: drop no settings, and hold no advisory locks',
  },
  {
    name: 'max-connections',
    value: 'NUMBER',
    description: 'most open connections of a target; default 100',
    check: integerFlag(1, 65_535, 'connections'),
  },
  {
    name: 'idle-timeout',
    value: 'SECONDS',
    description: 'end connections that have been idle for so long, outside of transactions',
    check: numberFlag(0.001, 604_800, 'seconds'),
  },
  {
    name: 'drain',
    value: 'SECONDS',
    description: 'how long open transactions may complete at the end; default 10',
    check: numberFlag(0, 3_600, 'seconds'),
  },
]

export const PROXY_FLAGS: readonly Flag[] = [
  {
    name: 'port',
    value: 'PORT',
    description: 'port of the first target, the others follow; default 6432; 0 for any free port',
    check: integerFlag(0, 65_535),
  },
  {
    name: 'by-database',
    description: 'one port for all targets: the database name of the client is the target',
  },
  { name: 'listen', value: 'ADDRESS', description: 'default 127.0.0.1', check: text },
  {
    name: 'socket-dir',
    value: 'DIR',
    description: 'Unix sockets in this folder, instead of TCP unless --port is given',
    check: text,
    isPath: true,
  },
  {
    name: 'password-file',
    value: 'FILE',
    description: 'the password of clients; default: one is made up and printed',
    check: text,
    isPath: true,
  },
  { name: 'no-password', description: 'let every local user in' },
  {
    name: 'tls-cert',
    value: 'FILE',
    description: 'certificate for TLS to the clients',
    check: text,
    isPath: true,
  },
  {
    name: 'tls-key',
    value: 'FILE',
    description: 'private key of --tls-cert',
    check: text,
    isPath: true,
  },
  {
    name: 'http',
    value: '[HOST:]PORT',
    description: 'serve /healthz, /readyz and /metrics',
    check: httpAddress,
  },
]

export const LOCAL_FLAGS: readonly Flag[] = [
  {
    name: 'port',
    value: 'PORT',
    description: 'default 54320; 0 for any free port',
    check: integerFlag(0, 65_535),
  },
  {
    name: 'provider',
    value: 'NAME',
    description: 'aurora-dsql (default) or rds: how it authenticates',
    check: oneOf('aurora-dsql', 'rds'),
  },
  {
    name: 'host',
    value: 'NAME',
    description: 'the host name of the emulated database; default: a generated one',
    check: hostName,
  },
  { name: 'user', value: 'ROLE', description: 'role of the application; default app', check: text },
  {
    name: 'arn',
    value: 'ARN',
    description: 'identity of the access key, for AWS IAM GRANT in --init; default: a made-up one',
    check: text,
  },
  {
    name: 'sql',
    value: 'NAME',
    description: 'aurora-dsql: only its SQL (default for aurora-dsql); postgres: everything',
    check: oneOf('aurora-dsql', 'postgres'),
  },
  {
    name: 'strict',
    description: 'refuse SQL of which it is not known whether Aurora DSQL accepts it',
  },
  {
    name: 'data',
    value: 'DIR',
    description: 'keep the data in this folder; default: they are deleted at the end',
    check: text,
    isPath: true,
  },
  {
    name: 'init',
    value: 'FILE',
    description: 'SQL to run as admin when the data are new',
    check: text,
    isPath: true,
  },
  {
    name: 'engine',
    value: 'NAME',
    description: 'postgres or pglite; default: the best that is there',
    check: oneOf('postgres', 'pglite'),
  },
  {
    name: 'upstream',
    value: 'URL',
    description: 'a PostgreSQL server of yours as the engine',
    check: text,
    isPrivate: true,
  },
  {
    name: 'fault',
    value: 'FAULT',
    description: 'such as "raise-conflicts times=2"; can be repeated',
    check: text,
    isList: true,
  },
  {
    name: 'write-env',
    value: 'FILE',
    description: 'write the variables to this file instead of printing them',
    check: text,
    isPath: true,
  },
  {
    name: 'run',
    value: 'COMMAND',
    description: 'run this line in a shell, with the variables of exec, and end with it',
    check: text,
    isPrivate: true,
  },
]

export const EXEC_FLAGS: readonly Flag[] = [
  {
    name: 'env',
    value: 'NAME',
    description: 'further variable to set to the URL, beside DATABASE_URL',
    check: matching(/^[A-Za-z_]\w*$/, 'the name of a variable'),
    isList: true,
  },
  {
    name: 'kill-after',
    value: 'SECONDS',
    description: 'how long the command may take to end after SIGTERM; default 10',
    check: numberFlag(0.001, 3_600, 'seconds'),
  },
]

/** `PORT` at 127.0.0.1, or `HOST:PORT`. */
function httpAddress(value: unknown, name: string): { host: string; port: number } {
  const [, host, port] = /^(?:(.*):)?(\d+)$/.exec(String(value)) ?? []
  return {
    host: host === undefined ? '127.0.0.1' : addressFlag(host, name).host,
    port: integerFlag(0, 65_535)(port ?? value, name),
  }
}

export const MIGRATE_FLAGS: readonly Flag[] = [
  {
    name: 'dir',
    value: 'DIR',
    description: 'the folder of the migrations; default migrations',
    check: text,
    isPath: true,
  },
  { name: 'dry-run', description: 'print the statements, and change nothing', isPrivate: true },
  {
    name: 'to',
    value: 'NAME',
    description: 'up: the last migration to run',
    check: text,
    isPrivate: true,
  },
  {
    name: 'steps',
    value: 'NUMBER',
    description: 'down: how many migrations to undo; default 1',
    check: integerFlag(1, 100_000, 'steps'),
    isPrivate: true,
  },
  { name: 'done', description: 'resolve: the interrupted statement has run', isPrivate: true },
  {
    name: 'not-done',
    description: 'resolve: the interrupted statement has not run',
    isPrivate: true,
  },
  {
    name: 'table',
    value: 'NAME',
    description: 'table of the ledger; default pg_iam_migrations',
    check: text,
  },
  {
    name: 'schema',
    value: 'NAME',
    description: 'schema of the ledger; default: the first one of the search path',
    check: text,
  },
  {
    name: 'wait',
    value: 'SECONDS',
    description: 'how long to wait for another deployer; default 600',
    check: numberFlag(0, 86_400, 'seconds'),
  },
  {
    name: 'lease',
    value: 'SECONDS',
    description: 'how long a deployer that died keeps others waiting; default 60',
    check: numberFlag(1, 3_600, 'seconds'),
  },
]

/** The faults of `local`: each is a method of `gateway.faults`. */
export const FAULT_NAMES = [
  'reject-logins',
  'cut',
  'raise-conflicts',
  'end-sessions-at',
  'limit-connections',
  'sessions',
  'kill-session',
  'clear',
] as const
