/** The flags of each command, beside those of the target. */
import { matching, text } from '../core/options/check.js'
import { addressFlag, type Flag, integerFlag, numberFlag } from './target.js'

export const TOKEN_FLAGS: readonly Flag[] = [
  { name: 'url', description: 'print a postgres:// URL with the token as its password' },
  { name: 'decode', description: 'print what the token says, without its signature' },
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
