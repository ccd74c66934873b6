/** Parses PostgreSQL URLs. Drivers never see the URL: they interpret it differently, and some turn TLS off because of it. */
import { PgIamError } from '../errors.js'
import { newestVersion, oldestVersion, unverified, SSL_MODES } from '../tls.js'
import { describeKind, invalidOption, unknownOption } from './check.js'
import { startupText, utf8 } from './startup-parameters.js'

/** The contents of a URL, by option name. Only options that the URL contains are present. */
interface UrlOptions {
  host?: string | readonly string[]
  port?: string
  database?: string
  user?: string
  region?: string
  signer?: string
  tls?: {
    ca?: string
    negotiation?: string
    minVersion?: string
    maxVersion?: string
  }
  startupParameters?: Readonly<Record<string, string>>
  connectTimeoutMs?: number
  keepAlive?: boolean | number
  connectTo?: { host: string } | readonly { host: string }[]
  /** The `application_name` to use if no other is given. */
  fallbackApplicationName?: string
  /** libpq variables that are ignored because the URL contains their parameter. */
  settled?: readonly string[]
}

/**
 * Parses `postgres://user@host:port/database?parameters`. Several hosts are separated by commas.
 *
 * The parameters are those of libpq (https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS), PostgreSQL's run-time
 * parameters, and those found in templates for pg, Postgres.js and Prisma. Each is either applied or rejected by name. If a parameter
 * occurs twice, the last one counts, except that all TLS parameters are checked.
 *
 * Throws `ERR_OPTION_CONFLICT` for a password, `ERR_TLS_UNVERIFIED` for a parameter that weakens TLS, and `ERR_OPTION_INVALID` for any
 * other invalid URL or parameter. The errors never show the URL.
 */
export function connectionUrlOptions(url: unknown): UrlOptions {
  const { parsed, hosts, ports } = parse(url)
  if (parsed.password !== '') throw hasPassword()
  const options: MutableUrlOptions = {}
  if (hosts.length > 0) options.host = hosts.length === 1 ? hosts[0]! : hosts
  const port = onePort(ports, hosts.length)
  if (port !== undefined) options.port = port
  if (parsed.username !== '') options.user = decode(parsed.username, 'user')
  const database = pathOf(url)
  if (database !== '') options.database = decode(database, 'database')
  const settled: string[] = []
  for (const [name, value] of parsed.searchParams) {
    applyParameter(options, name, value)
    const variable = HARMLESS_VARIABLES[name]
    if (variable !== undefined) settled.push(variable)
  }
  if (settled.length > 0) options.settled = settled
  return options
}

type MutableUrlOptions = { -readonly [Name in keyof UrlOptions]: UrlOptions[Name] }
type Apply = (options: MutableUrlOptions, value: string, name: string) => void

function applyParameter(options: MutableUrlOptions, name: string, value: string): void {
  const apply = Object.hasOwn(PARAMETERS, name) ? PARAMETERS[name] : undefined
  if (apply !== undefined) return apply(options, value, name)
  const lower = name.toLowerCase()
  // A name with a dot is a customized option: https://www.postgresql.org/docs/current/runtime-config-custom.html
  if (!RUN_TIME_PARAMETERS.includes(lower) && !/^[a-z_]\w*(?:\.[a-z_]\w*)+$/.test(lower))
    // Part of a password with an unencoded "?" can be parsed as a parameter name.
    throw /^[a-z_]\w*$/i.test(name) && !/\d/.test(name)
      ? unknownOption(name, [...Object.keys(PARAMETERS), ...RUN_TIME_PARAMETERS])
      : malformed(`?${name}=${value}`)
  toStartup(options, value, lower)
}

const toStartup: Apply = (options, value, name) => {
  // In libpq, an empty value counts as not given.
  if (value === '') return
  options.startupParameters = { ...options.startupParameters, [name]: startupText(value, name) }
}

const toTls =
  (key: keyof NonNullable<UrlOptions['tls']>): Apply =>
  (options, value) => {
    options.tls = { ...options.tls, [key]: value }
  }

/** Accepted without effect: the parameter requests the behaviour that pg-iam has anyway, or none. */
const noEffect: Apply = () => {}

/** For parameters whose environment variables are checked in the same way. */
const harmless: Apply = (_options, value, name) => onlyHarmless(name, value, name)

const only =
  (values: readonly string[], hint: string): Apply =>
  (_options, value, name) => {
    if (values.includes(value)) return
    const expected = values.map((each) => `"${each}"`).join(' or ')
    throw invalidOption(name, expected, value, hint)
  }

const refused =
  (hint: string): Apply =>
  (_options, _value, name) => {
    throw new PgIamError('ERR_OPTION_INVALID', `"${name}" must not be given in the URL`, { hint })
  }

/** For settings of the client rather than the connection. */
const clientOption = (option: string): Apply =>
  refused(`Set it in the client's options, not in the URL: ${option}.`)

const password: Apply = () => {
  throw hasPassword()
}

const NO_CLIENT_CERTIFICATE =
  'Remove it: the token authenticates the user, and pg-iam sends no client certificate.'
const NO_PROBES =
  'Remove it: Node cannot set it. Node sends ten probes, one a second, after "keepalives_idle" seconds.'

const hosts: Apply = (options, value, name) => {
  const [first, ...others] = hostList(value, name)
  options.host = others.length === 0 ? first! : [first!, ...others]
}

const ports: Apply = (options, value) => {
  const port = onePort(value.split(','), 1)
  if (port !== undefined) options.port = port
}

const PARAMETERS: Readonly<Record<string, Apply>> = {
  region: (options, value) => void (options.region = value),
  // Where to, and as whom.
  host: hosts,
  hostaddr: (options, value, name) => {
    const addresses = hostList(value, name).map((host) => ({ host }))
    options.connectTo = addresses.length === 1 ? addresses[0]! : addresses
  },
  port: ports,
  user: (options, value) => void (options.user = value),
  dbname: (options, value) => void (options.database = value),
  database: (options, value) => void (options.database = value),
  password,
  pass: password,
  passfile: refused('Remove it: the login makes a token for each connection.'),
  service: refused('Remove it: pg-iam reads no pg_service.conf. Give host, user and database.'),
  signer: (options, value) => void (options.signer = value),
  // TLS.
  sslmode: (_options, value) => {
    // libpq's "require" does not verify certificates. Here they are verified anyway.
    if (!SSL_MODES.includes(value)) throw unverified('sslmode')
  },
  ssl: (_options, value) => {
    if (!['true', '1', 'verify-full', 'verify-ca', 'require'].includes(value))
      throw unverified('ssl')
  },
  // Prisma's.
  sslaccept: (_options, value) => {
    if (value !== 'strict') throw unverified('sslaccept')
  },
  // pg's option for the meaning of "sslmode". TLS is always verified here.
  uselibpqcompat: only(['true', 'false'], 'Remove it: TLS is always verified.'),
  sslrootcert: (options, value) => {
    if (value !== 'system') options.tls = { ...options.tls, ca: value }
  },
  sslnegotiation: toTls('negotiation'),
  ssl_min_protocol_version: (options, value, name) => {
    if (value !== '') options.tls = { ...options.tls, minVersion: oldestVersion(value, name) }
  },
  ssl_max_protocol_version: (options, value, name) => {
    if (value !== '') options.tls = { ...options.tls, maxVersion: newestVersion(value, name) }
  },
  sslsni: harmless,
  sslcompression: only(['0'], 'Remove it: TLS is not compressed.'),
  sslcert: refused(NO_CLIENT_CERTIFICATE),
  sslkey: refused(NO_CLIENT_CERTIFICATE),
  sslidentity: refused(NO_CLIENT_CERTIFICATE),
  sslpassword: refused(NO_CLIENT_CERTIFICATE),
  sslcertmode: harmless,
  sslcrl: refused('Remove it: pg-iam reads no revocation lists.'),
  sslcrldir: refused('Remove it: pg-iam reads no revocation lists.'),
  // For Unix-domain sockets, GSSAPI and Kerberos, which are not used.
  requirepeer: noEffect,
  krbsrvname: noEffect,
  gsslib: noEffect,
  gssdelegation: only(['0'], 'Remove it: pg-iam does not use GSSAPI.'),
  gssencmode: harmless,
  channel_binding: harmless,
  require_auth: harmless,
  // The session.
  application_name: toStartup,
  fallback_application_name: (options, value, name) => {
    if (value !== '') options.fallbackApplicationName = startupText(value, name)
  },
  options: toStartup,
  client_encoding: (options, value, name) => toStartup(options, utf8(value, name), name),
  // pg's name for it.
  encoding: (options, value, name) => toStartup(options, utf8(value, name), 'client_encoding'),
  // Prisma's. Its engine sets it as the search path of the session.
  schema: (options, value) => {
    if (value !== '') toStartup(options, `"${value.replaceAll('"', '""')}"`, 'search_path')
  },
  replication: only(
    ['false', 'off', 'no', '0'],
    'Pass replication: "database" in the options of pg.',
  ),
  target_session_attrs: harmless,
  load_balance_hosts: harmless,
  min_protocol_version: harmless,
  max_protocol_version: harmless,
  // Time and the network.
  connect_timeout: (options, value, name) => {
    if (value !== '') options.connectTimeoutMs = connectTimeoutMs(value, name)
  },
  keepalives: (options, value, name) => {
    only(['0', '1'], 'Give "0" for no keepalives.')(options, value, name)
    options.keepAlive = value === '1' ? (options.keepAlive ?? true) : false
  },
  keepalives_idle: (options, value, name) => {
    if (!/^\d{1,6}$/.test(value)) throw invalidOption(name, 'a number of seconds', value)
    // 0 means the operating system's idle time. It only applies if keepalives are on.
    if (options.keepAlive !== false) options.keepAlive = Number(value) === 0 ? true : Number(value)
  },
  keepalives_interval: only(['0'], NO_PROBES),
  keepalives_count: only(['0'], NO_PROBES),
  tcp_user_timeout: only(['0'], 'Remove it: Node cannot set it. Use keepalives_idle.'),
  // Settings that clients and their pools read from a URL.
  max: clientOption('max'),
  min: clientOption('min'),
  connection_limit: clientOption('max'),
  pool_timeout: clientOption('the connection timeout of its pool'),
  pool_size: clientOption('max'),
  socket_timeout: clientOption('query_timeout or statement_timeout'),
  query_timeout: clientOption('query_timeout'),
  idle_timeout: clientOption('idle_timeout'),
  idleTimeoutMillis: clientOption('idleTimeoutMillis'),
  connectionTimeoutMillis: refused('Write it as connect_timeout, in seconds.'),
  keepAlive: refused('Write it as keepalives=1.'),
  keep_alive: refused('Write it as keepalives_idle, in seconds.'),
  max_lifetime: refused('Give the login maxLifetimeSecs instead.'),
  maxUses: clientOption('maxUses'),
  max_pipeline: clientOption('max_pipeline'),
  backoff: clientOption('backoff'),
  prepare: clientOption('prepare'),
  debug: clientOption('debug'),
  fetch_types: clientOption('fetch_types'),
  publications: clientOption('publications'),
  binary: clientOption('binary'),
  statement_cache_size: clientOption('prepare, or its equivalent'),
  pgbouncer: only(
    ['false'],
    "Remove it, and turn prepared statements off in the client's options, for example with prepare: false.",
  ),
}

/** Run-time parameters that are common in templates, or that PostgreSQL documents for clients to set. */
const RUN_TIME_PARAMETERS: readonly string[] = [
  'search_path',
  'statement_timeout',
  'lock_timeout',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
  'transaction_timeout',
  'default_transaction_isolation',
  'default_transaction_read_only',
  'default_transaction_deferrable',
  'timezone',
  'datestyle',
  'intervalstyle',
  'extra_float_digits',
  'bytea_output',
  'client_min_messages',
  'role',
  'work_mem',
  'jit',
  'geqo',
  'row_security',
  'synchronous_commit',
]

function hasPassword(): PgIamError {
  return new PgIamError(
    'ERR_OPTION_CONFLICT',
    'the URL must not contain a password: the login makes a token for each connection',
    {
      hint: 'Remove it from the URL. To use an ordinary password, connect without pg-iam: see docs/development.md.',
    },
  )
}

interface ParsedUrl {
  /** With the first host only. */
  parsed: URL
  hosts: string[]
  ports: string[]
}

/** Splits the list of hosts and parses each as a `URL`, which supports only one host. */
function parse(url: unknown): ParsedUrl {
  const text = url instanceof URL ? url.href : url
  const [, scheme = '', authority = '', rest = ''] =
    (typeof text === 'string' && /^(postgres(?:ql)?:\/\/)([^/?#]*)([^#]*)$/.exec(text)) || []
  const userEnd = authority.lastIndexOf('@') + 1
  const each = authority.slice(userEnd).split(',')
  const urls = each.map((host) => `${scheme}${authority.slice(0, userEnd)}${host}${rest}`)
  const isList = each.length === 1 || each.every((host) => host !== '')
  if (scheme !== '' && isList && urls.every((one) => URL.canParse(one))) {
    const parsed = urls.map((one) => new URL(one)) as [URL, ...URL[]]
    const given = parsed.filter(({ hostname }) => hostname !== '')
    return {
      parsed: parsed[0],
      hosts: given.map(({ hostname }) => hostname.replace(/^\[(.*)\]$/, '$1')),
      ports: given.map(({ port }) => port),
    }
  }
  throw malformed(text)
}

/** Shows only the scheme of an invalid URL, since any part of it may be a password. */
function malformed(got: unknown): PgIamError {
  const [, scheme] = (typeof got === 'string' && /^([a-z][a-z0-9+.-]{0,30}):\/\//i.exec(got)) || []
  const isOther = scheme !== undefined && !/^postgres(ql)?$/.test(scheme)
  return new PgIamError(
    'ERR_OPTION_INVALID',
    `"url" must be a URL such as postgres://user@host:5432/database, got ${isOther ? `a URL of the scheme "${scheme}"` : describeKind(got)}`,
    { hint: URL_HINTS[urlKind(got, isOther)] },
  )
}

const URL_HINTS = {
  unset: 'Is the environment variable that should contain it set?',
  quoted: 'Remove the quotes around it.',
  keywords: 'Convert the connection string of keywords and values, "host=… user=…", to a URL.',
  other: 'pg-iam logs in to PostgreSQL.',
  url: 'Percent-encode the special characters in its user and database, such as # as %23 and / as %2F.',
} as const

function urlKind(got: unknown, isOther: boolean): keyof typeof URL_HINTS {
  const given = typeof got === 'string' ? got.trim() : ''
  if (given === '') return 'unset'
  if (/^["'`]/.test(given)) return 'quoted'
  if (/^[a-z_]+\s*=/i.test(given)) return 'keywords'
  return isOther ? 'other' : 'url'
}

/** The port of all hosts. A token can be specific to a port, so a login has one port. */
function onePort(given: readonly string[], hostCount: number): string | undefined {
  const [first = '', ...others] = given
  if (others.every((port) => port === first)) return first === '' ? undefined : first
  throw new PgIamError(
    'ERR_OPTION_INVALID',
    `"port" must be the same for all ${Math.max(hostCount, given.length)} hosts of the URL`,
    { hint: 'Write the port after each host, or create a login for each port.' },
  )
}

/** The path as written: `URL` would treat a database name of one or two dots as a path segment. */
function pathOf(url: unknown): string {
  return /^[^:]+:\/\/[^/?]*\/([^?]*)/.exec(String(url))?.[1] ?? ''
}

function decode(component: string, name: string): string {
  try {
    return decodeURIComponent(component)
  } catch (cause) {
    throw new PgIamError('ERR_OPTION_INVALID', `"url" must have a percent-encoded ${name}`, {
      cause,
    })
  }
}

// libpq's parameters, from a URL or from the environment.

/**
 * Throws `ERR_OPTION_INVALID` for a value that requests something unsupported. Accepted values request the behaviour that pg-iam has
 * anyway, or none.
 *
 * @param parameter libpq's name
 * @param name for messages: the same, or the environment variable
 */
export function onlyHarmless(parameter: string, value: string, name: string): void {
  const { taken, hint } = HARMLESS[parameter]!
  if (value === '' || taken.includes(value)) return
  const expected = taken.map((each) => `"${each}"`).join(' or ')
  throw invalidOption(name, expected === '' ? 'left out' : expected, value, hint)
}

interface Harmless {
  /** The variable that libpq reads for it. */
  variable: string
  taken: readonly string[]
  hint: string
}

const HARMLESS: Readonly<Record<string, Harmless>> = {
  channel_binding: {
    variable: 'PGCHANNELBINDING',
    taken: ['disable', 'prefer'],
    hint: 'Remove it: a token is sent as a password, and only SCRAM has channel binding. TLS is always verified, which prevents interception.',
  },
  gssencmode: {
    variable: 'PGGSSENCMODE',
    taken: ['disable', 'prefer'],
    hint: 'Remove it: a token is sent over TLS, and pg-iam does not use GSSAPI.',
  },
  require_auth: {
    variable: 'PGREQUIREAUTH',
    taken: [],
    hint: 'Remove it: a login fails anyway if the server requests an authentication method that tokens do not support.',
  },
  target_session_attrs: {
    variable: 'PGTARGETSESSIONATTRS',
    taken: ['any'],
    hint: 'Remove it, and use the endpoint of the writer or of the readers.',
  },
  load_balance_hosts: {
    variable: 'PGLOADBALANCEHOSTS',
    taken: ['disable'],
    hint: 'Remove it: hosts are tried in order. Use a reader endpoint to distribute connections.',
  },
  sslsni: {
    variable: 'PGSSLSNI',
    taken: ['1'],
    hint: 'Remove it: the host name is always sent.',
  },
  sslcertmode: {
    variable: 'PGSSLCERTMODE',
    taken: ['disable', 'allow'],
    hint: 'Remove it: the token authenticates the user, and pg-iam sends no client certificate.',
  },
  min_protocol_version: {
    variable: 'PGMINPROTOCOLVERSION',
    taken: ['3.0'],
    hint: 'Remove it: the drivers of Node speak version 3.0.',
  },
  max_protocol_version: {
    variable: 'PGMAXPROTOCOLVERSION',
    taken: ['3.0', '3.2', 'latest'],
    hint: 'Remove it: the drivers of Node speak version 3.0.',
  },
}

/** The variables that libpq reads for the parameters of {@link onlyHarmless}. */
export const HARMLESS_VARIABLES: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(HARMLESS).map(([parameter, { variable }]) => [parameter, variable]),
)

/**
 * libpq's `connect_timeout`, in seconds, converted to milliseconds. Values of 0 or less mean no limit in libpq, and the maximum of ten
 * minutes here. 1 is raised to 2, as in libpq before version 17.
 */
export function connectTimeoutMs(value: string, name: string): number {
  if (!/^\s*-?\d{1,10}\s*$/.test(value)) throw invalidOption(name, 'an integer of seconds', value)
  const seconds = Number(value)
  return seconds <= 0 ? LONGEST_MS : Math.min(LONGEST_MS, Math.max(2, seconds) * 1_000)
}

const LONGEST_MS = 600_000

/** A list of hosts as libpq takes it, separated by commas. */
export function hostList(value: string, name: string): readonly [string, ...string[]] {
  const list = value.split(',')
  if (list.some((host) => host === ''))
    throw invalidOption(name, 'a host, or several separated by commas', value)
  return list as [string, ...string[]]
}
