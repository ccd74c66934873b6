/** Puts a proxy before the constructors of pg and the function of Postgres.js, which logs connections in or passes them on as they are. */
import type { EventEmitter } from 'node:events'
import type { ClientConfig, PoolConfig } from 'pg'
import { clientConfig, ignore, pgConfig } from '../adapters/pg/config.js'
import { createSqlOf, type PostgresFunction } from '../adapters/postgres-js/instance.js'
import { loginOfFactory } from '../core/connection/login-stream.js'
import type { Login } from '../core/login.js'
import { isPlainObject } from '../core/options/check.js'
import { PG_STARTUP_OPTIONS } from '../core/options/startup-parameters.js'
import { chooseLogin, type Connection, type Settings } from './target.js'

export interface Context {
  readonly settings: Settings
  /** Called with what was done to a connection. */
  debug(message: string): void
}

/** A driver is patched once, whoever loads it: an application that imports and requires pg gets the same object twice. */
const patched = new WeakSet<object>()
const proxies = new WeakMap<object, object>()

function patch<T extends object>(original: T, handler: ProxyHandler<T>): T {
  if (patched.has(original)) return original
  const known = proxies.get(original) as T | undefined
  if (known !== undefined) return known
  const proxy = new Proxy(original, handler)
  // What an application makes is of the class that it knows: `client.constructor === pg.Client`.
  const { prototype } = original as { prototype?: { constructor?: unknown } }
  if (prototype?.constructor === original) prototype.constructor = proxy
  patched.add(proxy)
  proxies.set(original, proxy)
  return proxy
}

type Constructor = new (config?: unknown) => EventEmitter
type Fields = Readonly<Record<string, unknown>>

/** What pg exports. */
export interface PgExports {
  Client: Constructor
  Pool: Constructor
  readonly defaults?: Fields
}

/** Replaces `Client` and `Pool` in the exports of a copy of pg. */
export function patchPg(pg: PgExports, context: Context): void {
  const { defaults = {} } = pg
  const original = { ...defaults }
  /** pg's own are no choice of the application, such as the user of the operating system. */
  const chosenDefaults = (): Fields =>
    Object.fromEntries(Object.entries(defaults).filter(([name, value]) => original[name] !== value))
  const handler = (
    name: string,
    configOf: (login: Login, config: object) => object,
  ): ProxyHandler<Constructor> => {
    const proxyHandler: ProxyHandler<Constructor> = {
      construct(target, [given], newTarget: Function) {
        const own = newTarget === proxies.get(target) ? target : newTarget
        const result = loginOfPg(given, chosenDefaults(), name, context)
        // With the arguments as they were.
        if (result === undefined) return Reflect.construct(target, [given], own) as EventEmitter
        const config = configOf(result.login, result.config)
        const client = Reflect.construct(target, [config], own) as EventEmitter
        return client.on('error', ignore)
      },
    }
    return proxyHandler
  }
  // A pool makes its clients of the original class, with a configuration that logs in: they are instances of the proxy, too.
  pg.Client = patch(
    pg.Client,
    handler('pg.Client', (login, config) => clientConfig(login, config as ClientConfig)),
  )
  pg.Pool = patch(
    pg.Pool,
    handler('pg.Pool', (login, config) => pgConfig(login, config as PoolConfig) as object),
  )
}

function loginOfPg(
  given: unknown,
  defaults: Fields,
  name: string,
  { settings, debug }: Context,
): { login: Login; config: object } | undefined {
  const own = typeof given === 'string' ? { connectionString: given } : given
  if (own !== undefined && own !== null && typeof own !== 'object') return undefined
  const fields = (own ?? {}) as Fields
  // A pool makes its clients with the stream that it was given here.
  if (loginOfFactory(fields['stream']) !== undefined) return undefined
  if (fields['stream'] !== undefined || fields['connection'] !== undefined) {
    debug(`${name} is left alone: it has a stream of its own`)
    return undefined
  }
  const url = fields['connectionString']
  const fromUrl = url === undefined || url === null || url === '' ? {} : fieldsOfUrl(url)
  if (fromUrl === undefined) {
    debug(`${name} is left alone: its connection string is no URL`)
    return undefined
  }
  // As in pg: a URL takes precedence over the fields beside it. The password may not be enumerable.
  const all: Fields = { ...fields, password: fields['password'], ...fromUrl }
  const env = process.env
  const host = all['host'] || env['PGHOST'] || defaults['host']
  const connection: Connection = {
    hosts: typeof host === 'string' ? host.split(',') : [],
    port: all['port'] || env['PGPORT'] || defaults['port'],
    user: all['user'] || env['PGUSER'] || defaults['user'],
    database: all['database'] || env['PGDATABASE'] || defaults['database'],
    hasPassword: Boolean(all['password'] || env['PGPASSWORD'] || defaults['password']),
    ca: all['sslrootcert'],
  }
  const login = chosen(connection, name, settings, debug)
  return (
    login && { login, config: { ...without(all, OWNED_BY_LOGIN), ...authority(fields['ssl']) } }
  )
}

/** The parts of a URL, and those of its parameters that pg reads. */
function fieldsOfUrl(url: unknown): Fields | undefined {
  if (typeof url !== 'string' || !URL.canParse(url)) return undefined
  const parsed = new URL(url)
  if (parsed.protocol === 'socket:') return undefined
  const parameter = (name: string): string | undefined => parsed.searchParams.get(name) ?? undefined
  const read = URL_PARAMETERS.flatMap((name) => {
    const value = parameter(name)
    return value === undefined ? [] : [[name, value]]
  })
  return {
    ...(Object.fromEntries(read) as Fields),
    host: parameter('host') || decoded(parsed.hostname),
    port: parameter('port') || parsed.port,
    user: parameter('user') || decoded(parsed.username),
    password: parameter('password') || decoded(parsed.password),
    database: decoded(parsed.pathname.slice(1)),
  }
}

const URL_PARAMETERS = [...Object.keys(PG_STARTUP_OPTIONS), 'query_timeout', 'sslrootcert']

/** What a URL or an option says about the server. TLS is verified whatever it says. */
const OWNED_BY_LOGIN: ReadonlySet<string> = new Set([
  'connectionString',
  'host',
  'hostname',
  'port',
  'user',
  'username',
  'database',
  'db',
  'password',
  'pass',
  'ssl',
  'sslmode',
  'sslcert',
  'sslkey',
  'sslrootcert',
  'sslnegotiation',
])

/** Replaces the function that a copy of Postgres.js exports. Its own properties are those of the original. */
export function patchPostgres<T extends Function>(postgres: T, context: Context): T {
  return patch(postgres, {
    apply(target, self: unknown, args: unknown[]) {
      const result = loginOfPostgres(args, context)
      if (result === undefined) return Reflect.apply(target, self, args) as unknown
      return createSqlOf(target as unknown as PostgresFunction, result.login, result.options)
    },
  })
}

function loginOfPostgres(
  [first, second]: readonly unknown[],
  { settings, debug }: Context,
): { login: Login; options: object } | undefined {
  const name = 'postgres()'
  const given = ((!first || typeof first === 'string' ? second : first) || {}) as Fields
  if (given['shared'] || given['socket'] || given['path']) {
    debug(`${name} is left alone: it has a socket of its own`)
    return undefined
  }
  const url = typeof first === 'string' && first !== '' ? postgresUrl(first) : NO_URL
  if (url === undefined) {
    debug(`${name} is left alone: its connection string is no URL`)
    return undefined
  }
  const env = process.env
  const host = given['hostname'] || given['host'] || url.hosts || env['PGHOST']
  const list = Array.isArray(host)
    ? host.map(String)
    : typeof host === 'string'
      ? host.split(',')
      : []
  const pairs = list.filter((each) => each !== '').map((each) => each.split(':'))
  const port = given['port'] || url.port
  const ports = Array.isArray(port) ? port : pairs.map(([, own]) => own || port)
  if (new Set(ports.map(String)).size > 1) {
    debug(`${name} is left alone: its hosts have different ports`)
    return undefined
  }
  const connection: Connection = {
    hosts: pairs.map(([own = '']) => own),
    port: ports[0],
    user: given['user'] || given['username'] || url.user || env['PGUSERNAME'],
    database: given['database'] || given['db'] || url.database,
    hasPassword: Boolean(given['pass'] || given['password'] || url.password || env['PGPASSWORD']),
    ca: url.parameters.get('sslrootcert'),
  }
  const login = chosen(connection, name, settings, debug)
  return login && { login, options: optionsOfPostgres(given, url.parameters) }
}

interface PostgresUrl {
  readonly hosts: string
  readonly port: string
  readonly user: string
  readonly password: string
  readonly database: string
  readonly parameters: URLSearchParams
}

const NO_URL: PostgresUrl = {
  hosts: '',
  port: '',
  user: '',
  password: '',
  database: '',
  parameters: new URLSearchParams(),
}

/** Of several hosts, `URL` takes one only. */
function postgresUrl(text: string): PostgresUrl | undefined {
  const [, scheme = '', userinfo = '', hosts = '', rest = ''] =
    /^([a-z][a-z0-9+.-]*:\/\/)((?:[^/?#]*@)?)([^/?#]*)(.*)$/is.exec(text) ?? []
  const single = `${scheme}${userinfo}${hosts.split(',')[0]}${rest}`
  if (scheme === '' || !URL.canParse(single)) return undefined
  const { hostname, port, username, password, pathname, searchParams } = new URL(single)
  return {
    hosts: hosts.includes(',') ? hosts : hostname,
    port,
    user: decoded(username),
    password: decoded(password),
    database: pathname.slice(1),
    parameters: searchParams,
  }
}

/** The parameters of a URL as Postgres.js reads them: its own options, which those beside the URL override, and those of the session. */
function optionsOfPostgres(given: Fields, parameters: URLSearchParams): object {
  const options: Record<string, unknown> = {}
  const session: Record<string, unknown> = { ...(given['connection'] as object | undefined) }
  for (const [name, value] of parameters) {
    if (OWNED_BY_LOGIN.has(name)) continue
    if (!POSTGRES_OPTIONS.has(name)) session[name] = value
    else options[name] = value === 'disable' || value === 'false' ? false : value
  }
  return {
    ...options,
    ...without(given, OWNED_BY_LOGIN),
    ...authority(given['ssl']),
    connection: session,
  }
}

const POSTGRES_OPTIONS: ReadonlySet<string> = new Set([
  'max',
  'idle_timeout',
  'connect_timeout',
  'max_lifetime',
  'max_pipeline',
  'backoff',
  'keep_alive',
  'prepare',
  'debug',
  'fetch_types',
  'publications',
  'target_session_attrs',
])

function chosen(
  connection: Connection,
  name: string,
  settings: Settings,
  debug: Context['debug'],
): Login | undefined {
  const [host = 'no host'] = connection.hosts
  const choice = chooseLogin(connection, settings)
  if ('login' in choice) {
    const { provider, user = 'the user of the token' } = choice.login
    debug(`${name} for ${host} logs in as ${user} (${provider})`)
    return choice.login
  }
  debug(`${name} for ${host} is left alone: ${choice.reason}`)
  return undefined
}

function decoded(component: string): string {
  try {
    return decodeURIComponent(component)
  } catch {
    return component
  }
}

/** Of the application's TLS options only the authority counts: TLS is verified in any case. */
function authority(ssl: unknown): { ssl?: { ca: unknown } } {
  return isPlainObject(ssl) && ssl['ca'] ? { ssl: { ca: ssl['ca'] } } : {}
}

function without(fields: Fields, names: ReadonlySet<string>): Fields {
  return Object.fromEntries(Object.entries(fields).filter(([name]) => !names.has(name)))
}
