/** The database that a command works on: from a URL, flags, `pg-iam.json` and the environment. */
import { readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { Option } from 'commander'
import { loginFromSources, PROVIDER_NAMES } from '../core/login-from.js'
import type { Login } from '../core/login.js'
import {
  type Check,
  hostName,
  integerWithin,
  isPlainObject,
  matching,
  numberWithin,
  oneOf,
  port,
  text,
  unknownOption,
} from '../core/options/check.js'
import { connectionUrlOptions } from '../core/options/connection-url.js'
import type { Logger } from '../core/events.js'
import type { AwsCredentialsProvider } from '../core/providers/aws/credentials.js'
import { type HostedProvider, providerOfHost } from '../core/providers/host-names.js'
import { usageError } from './failure.js'
import { isSignedIn, signedInCredentials } from './saved-sign-in.js'

// Flags: those of the command line, which are also the keys of the configuration file.

export interface Flag {
  /** `server-port`, the key in the file as well. */
  readonly name: string
  /** The placeholder of its value in the help. A flag without one has no value. */
  readonly value?: string
  readonly description: string
  readonly check?: Check<unknown>
  /** Whether it can be given several times. */
  readonly isList?: boolean
  /** Whether it is the path of a file: in the configuration file, it is relative to that. */
  readonly isPath?: boolean
  /** Whether it is not read from the configuration file. */
  readonly isPrivate?: boolean
}

/** An integer, as text. */
export function integerFlag(min: number, max: number, unit?: string): Check<number> {
  const check = integerWithin(min, max, unit)
  return (value, name) => check(/^\d{1,15}$/.test(String(value)) ? Number(value) : value, name)
}

/** A number, as text. */
export function numberFlag(min: number, max: number, unit: string): Check<number> {
  const check = numberWithin(min, max, unit)
  return (value, name) =>
    check(/^\d{1,15}(?:\.\d{1,6})?$/.test(String(value)) ? Number(value) : value, name)
}

/** `HOST:PORT`, with the IPv6 addresses in brackets. */
export const addressFlag: Check<{ host: string; port?: number }> = (value, name) => {
  const { host, given } =
    /^(?:\[(?<six>[\da-f:.]+)\]|(?<host>[^:]+))(?::(?<given>\d+))?$/i.exec(String(value))?.groups ??
    {}
  const six = /^\[([\da-f:.]+)\]/i.exec(String(value))?.[1]
  if (host === undefined && six === undefined)
    throw usageError(`"${name}" must be HOST:PORT, got ${JSON.stringify(value)}`)
  return {
    host: hostName(six ?? host, name),
    ...(given === undefined ? {} : { port: port(given, name) }),
  }
}

export const TARGET_FLAGS: readonly Flag[] = [
  {
    name: 'host',
    value: 'NAME',
    description: 'endpoint name of the database (PGHOST)',
    check: hostName,
  },
  { name: 'server-port', value: 'PORT', description: 'port of the database (PGPORT)', check: port },
  { name: 'user', value: 'ROLE', description: 'database user (PGUSER)', check: text },
  { name: 'database', value: 'NAME', description: 'database name (PGDATABASE)', check: text },
  {
    name: 'provider',
    value: 'NAME',
    description: `${PROVIDER_NAMES.join(', ')}; default: by the host name`,
    check: oneOf(...PROVIDER_NAMES),
  },
  { name: 'region', value: 'REGION', description: 'AWS region (AWS_REGION)', check: text },
  {
    name: 'profile',
    value: 'NAME',
    description: 'profile of the AWS files (AWS_PROFILE)',
    check: text,
  },
  {
    name: 'assume-role',
    value: 'ARN',
    description: 'AWS role to assume; several are assumed one after another',
    check: matching(/^arn:[\w-]+:iam::\d{12}:role\/[\u0021-\u007e]+$/, 'the ARN of a role'),
    isList: true,
  },
  {
    name: 'signer',
    value: 'NAME',
    description: 'built-in (default) or aws-sdk: who signs the tokens of AWS',
    check: oneOf('built-in', 'aws-sdk'),
  },
  {
    name: 'ca',
    value: 'FILE',
    description: 'certificate authorities to trust (PGSSLROOTCERT)',
    check: text,
    isPath: true,
  },
  {
    name: 'connect-to',
    value: 'HOST:PORT',
    description: 'address to dial instead, such as that of a tunnel (PG_IAM_CONNECT_TO)',
    check: addressFlag,
  },
  {
    name: 'connect-timeout',
    value: 'SECONDS',
    description: 'time limit of a connection, token included; default 30',
    check: numberFlag(0.001, 600, 'seconds'),
  },
  {
    name: 'token-timeout',
    value: 'SECONDS',
    description: 'time limit of a token; default 10',
    check: numberFlag(0.001, 600, 'seconds'),
  },
  {
    name: 'connect-rate',
    value: 'NUMBER',
    description: 'most new connections a second',
    check: numberFlag(0.1, 10_000, 'connections a second'),
  },
]

/** The flag as an option of the command line. */
export function optionOf({ name, value, description, check, isList }: Flag): Option {
  const option = new Option(`--${name}${value === undefined ? '' : ` <${value}>`}`, description)
  if (check === undefined) return option
  return option.argParser((given: string, before: unknown) => {
    const checked = check(given, `--${name}`)
    return isList === true ? [...((before as unknown[] | undefined) ?? []), checked] : checked
  })
}

/** The values of flags, by their names. */
export type Flags = Readonly<Record<string, unknown>>

/** commander has the names in camel case, and `--no-password` as `password: false`. */
export function flagsOf(options: Readonly<Record<string, unknown>>): Flags {
  return Object.fromEntries(
    Object.entries(options)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => {
        const flag = name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
        return value === false ? [`no-${flag}`, true] : [flag, value]
      }),
  )
}

// The configuration file.

export interface Configuration {
  /** For messages; `undefined` without a file. */
  readonly file: string | undefined
  /** The flags that apply to every target. */
  readonly defaults: Flags
  readonly targets: ReadonlyMap<string, ConfiguredTarget>
  /** The flags of the command. */
  readonly command: Flags
}

interface ConfiguredTarget {
  readonly url: string | undefined
  readonly flags: Flags
}

export const CONFIGURATION_FILE = 'pg-iam.json'

interface ConfigurationRequest {
  /** `--config`. */
  readonly file: string | undefined
  readonly cwd: string
  /** The command, and the flags that it has. */
  readonly command: string
  readonly flags: readonly Flag[]
}

/** The names of all commands that have a section in the file. */
const COMMANDS = ['proxy', 'exec', 'token', 'doctor', 'login', 'local', 'migrate']

/** Reads the file. Relative paths in it are relative to it. */
export function readConfiguration({
  file,
  cwd,
  command,
  flags,
}: ConfigurationRequest): Configuration {
  const path = resolve(cwd, file ?? CONFIGURATION_FILE)
  const content = contentOf(path, file !== undefined)
  if (content === undefined)
    return { file: undefined, defaults: {}, targets: new Map(), command: {} }
  const given = parsed(content, path)
  const { targets, ...others } = given
  const sections = Object.fromEntries(
    Object.entries(others).filter(([name]) => COMMANDS.includes(name)),
  )
  const defaults = Object.fromEntries(
    Object.entries(others).filter(([name]) => !COMMANDS.includes(name)),
  )
  const names = TARGET_FLAGS.map(({ name }) => name)
  const unknown = Object.keys(defaults).find((name) => !names.includes(name))
  if (unknown !== undefined)
    throw inFile(path, unknownOption(unknown, [...names, 'targets', ...COMMANDS]))
  return {
    file: path,
    defaults: checkedFlags(defaults, TARGET_FLAGS, path, ''),
    targets: targetsIn(targets, path),
    command: checkedFlags(sections[command] ?? {}, flags, path, `${command}.`),
  }
}

function contentOf(path: string, isRequired: boolean): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' && !isRequired) return undefined
    throw usageError(`could not read ${path}: ${message}`)
  }
}

function parsed(content: string, path: string): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(content)
  } catch (error) {
    throw usageError(`${path} is no JSON: ${(error as Error).message.split('\n')[0]}`)
  }
  if (!isPlainObject(value)) throw usageError(`${path} must contain an object`)
  return value
}

function targetsIn(given: unknown, path: string): ReadonlyMap<string, ConfiguredTarget> {
  if (given === undefined) return new Map()
  if (!isPlainObject(given)) throw usageError(`${path}: "targets" must be an object`)
  return new Map(
    Object.entries(given).map(([name, target]) => {
      if (!TARGET_NAME.test(name))
        throw usageError(`${path}: "${name}" is no name of a target`, NAMES_OF_TARGETS)
      const place = `targets.${name}`
      if (typeof target === 'string') return [name, { url: target, flags: {} }]
      if (!isPlainObject(target)) throw usageError(`${path}: "${place}" must be a URL or an object`)
      const { url, ...flags } = target
      if (url !== undefined && typeof url !== 'string')
        throw usageError(`${path}: "${place}.url" must be a postgres:// URL`)
      return [name, { url, flags: checkedFlags(flags, TARGET_FLAGS, path, `${place}.`) }]
    }),
  )
}

const TARGET_NAME = /^[a-z_][\w-]{0,62}$/i
const NAMES_OF_TARGETS = 'Names have letters, digits, "_" and "-", and begin with a letter.'

function checkedFlags(given: unknown, flags: readonly Flag[], path: string, prefix: string): Flags {
  if (!isPlainObject(given)) throw usageError(`${path}: "${prefix.slice(0, -1)}" must be an object`)
  const known = flags.filter(({ isPrivate }) => isPrivate !== true)
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => {
      const flag = known.find((each) => each.name === name)
      if (flag === undefined)
        throw inFile(
          path,
          unknownOption(
            `${prefix}${name}`,
            known.map((each) => each.name),
            prefix,
          ),
        )
      return [name, valueInFile(flag, value, path, `${prefix}${name}`)]
    }),
  )
}

function valueInFile(flag: Flag, value: unknown, path: string, place: string): unknown {
  const { check, isList, isPath } = flag
  try {
    if (check === undefined) {
      if (typeof value !== 'boolean') throw usageError(`"${place}" must be true or false`)
      return value
    }
    if (isPath === true) return resolve(dirname(path), String(check(value, place)))
    if (isList !== true) return check(value, place)
    return (Array.isArray(value) ? value : [value]).map((each) => check(each, place))
  } catch (error) {
    throw inFile(path, error as Error)
  }
}

function inFile(path: string, error: Error & { hint?: string | undefined }): Error {
  return usageError(`${path}: ${error.message}`, error.hint)
}

// Targets.

export interface Target {
  /** The name in the configuration file or on the command line. */
  readonly name: string | undefined
  readonly login: Login
  /** The flags that describe it, from wherever they came. */
  readonly flags: Flags
  /** Where each option came from, by the name of its flag: for `doctor`. */
  readonly origins: ReadonlyMap<string, string>
  /** Those of the signed-in user, if they are used. */
  readonly credentials?: AwsCredentialsProvider
}

interface TargetRequest {
  readonly flags: Flags
  readonly configuration: Configuration
  readonly env: Readonly<Record<string, string | undefined>>
  readonly logger?: Logger | undefined
}

/**
 * The one target of a command: the named one, or the only one of the file, or that of the flags and the environment.
 *
 * @param given a URL, or a name in the configuration file
 */
export function resolveTarget(given: string | undefined, request: TargetRequest): Target {
  const { flags, configuration } = request
  if (given !== undefined) return namedTarget(given, request)
  const names = [...configuration.targets.keys()]
  if (flags['host'] !== undefined || names.length === 0)
    return targetOf(undefined, undefined, {}, request)
  const [first, ...others] = names
  if (others.length === 0) return namedTarget(first!, request)
  throw usageError(`name one of the targets of ${configuration.file}: ${names.join(', ')}`)
}

/** The targets of `proxy`: those that are named, or all of the file. `NAME=URL` gives one a name. */
export function resolveTargets(given: readonly string[], request: TargetRequest): Target[] {
  const { flags, configuration } = request
  const all =
    given.length === 0 && flags['host'] === undefined ? [...configuration.targets.keys()] : given
  if (all.length === 0) return [resolveTarget(undefined, request)]
  const targets = all.map((each) => namedTarget(each, request))
  const seen = new Set<string>()
  for (const { name } of targets) {
    if (name === undefined) continue
    if (seen.has(name)) throw usageError(`the target "${name}" is given twice`)
    seen.add(name)
  }
  return targets
}

function namedTarget(given: string, request: TargetRequest): Target {
  const { configuration } = request
  const [, own, ofName] = /^([a-z_][\w-]{0,62})=(.*)$/is.exec(given) ?? []
  if (own !== undefined) return targetOf(own, urlOf(ofName!), {}, request)
  if (/^[a-z][a-z\d+.-]*:/i.test(given)) return targetOf(undefined, urlOf(given), {}, request)
  const configured = configuration.targets.get(given)
  if (configured !== undefined) return targetOf(given, configured.url, configured.flags, request)
  const names = [...configuration.targets.keys()]
  const known =
    names.length === 0
      ? `There is no ${CONFIGURATION_FILE} with targets here.`
      : `${configuration.file} has ${names.join(', ')}.`
  // Not shown: it may be a URL with a typing mistake and a password.
  throw usageError(
    TARGET_NAME.test(given) ? `"${given}" is no target` : 'the target is neither a URL nor a name',
    `Give a URL such as postgres://app@HOST/postgres, or a name. ${known}`,
  )
}

function urlOf(given: string): string {
  if (/^postgres(?:ql)?:\/\//.test(given)) return given
  throw usageError('the URL of a target must begin with postgres://')
}

function targetOf(
  name: string | undefined,
  url: string | undefined,
  configured: Flags,
  { flags, configuration, env, logger }: TargetRequest,
): Target {
  const inUrl = url === undefined ? {} : connectionUrlOptions(url)
  const origins = new Map<string, string>()
  const chosen: Record<string, unknown> = {}
  const file = configuration.file ?? ''
  const take = (from: Flags, origin: (flag: string) => string): void => {
    for (const { name: flag } of TARGET_FLAGS) {
      if (from[flag] === undefined) continue
      chosen[flag] = from[flag]
      origins.set(flag, origin(flag))
    }
  }
  // The file's general settings do not replace what a URL says about its own database.
  const general = Object.entries(configuration.defaults).filter(
    ([flag]) => !Object.hasOwn(inUrl, OPTION_NAMES[flag] ?? ''),
  )
  take(Object.fromEntries(general), () => file)
  for (const [flag, option] of Object.entries(OPTION_NAMES))
    if (Object.hasOwn(inUrl, option) && !origins.has(flag)) origins.set(flag, 'URL')
  take(configured, () => `${file}, targets.${name}`)
  take(flags, (flag) => `--${flag}`)
  for (const [flag, variable] of Object.entries(VARIABLES))
    if (!origins.has(flag) && env[variable]) origins.set(flag, variable)
  const { provider } = chosen as { provider?: HostedProvider }
  const host = chosen['host'] ?? (inUrl as { host?: unknown }).host ?? env['PGHOST']
  const first: unknown = Array.isArray(host) ? host[0] : host
  const known = provider ?? (typeof first === 'string' ? providerOfHost(first) : undefined)
  const isUser = chosen['profile'] === undefined && known !== undefined && isSignedIn(known, env)
  if (isUser) origins.set('credentials', 'pg-iam login')
  const login = loginFromSources({
    ...(url === undefined ? {} : { url }),
    ...(provider === undefined ? {} : { provider }),
    options: {
      ...loginOptionsOf(chosen),
      ...(isUser ? { credentials: signedInCredentials(known, env) as never } : {}),
      ...(logger === undefined ? {} : { logger }),
    },
    signerOptions: { signer: 'built-in' },
    env,
  })
  return {
    name,
    login,
    flags: chosen,
    origins,
    ...(isUser && known !== 'entra'
      ? { credentials: signedInCredentials(known, env) as AwsCredentialsProvider }
      : {}),
  }
}

/** The options of a login by the flags that set them. */
const OPTION_NAMES: Readonly<Record<string, string>> = {
  host: 'host',
  'server-port': 'port',
  user: 'user',
  database: 'database',
  region: 'region',
  profile: 'profile',
  'assume-role': 'assumeRole',
  signer: 'signer',
  ca: 'tls',
  'connect-to': 'connectTo',
  'connect-timeout': 'connectTimeoutMs',
  'token-timeout': 'tokenTimeoutMs',
  'connect-rate': 'connectRate',
}

const VARIABLES: Readonly<Record<string, string>> = {
  host: 'PGHOST',
  'server-port': 'PGPORT',
  user: 'PGUSER',
  database: 'PGDATABASE',
  region: 'AWS_REGION',
  profile: 'AWS_PROFILE',
  ca: 'PGSSLROOTCERT',
  'connect-timeout': 'PGCONNECT_TIMEOUT',
  'connect-to': 'PG_IAM_CONNECT_TO',
}

function loginOptionsOf(flags: Flags): object {
  const seconds = (name: string): number | undefined => {
    const value = flags[name] as number | undefined
    return value === undefined ? undefined : Math.ceil(value * 1_000)
  }
  const roles = flags['assume-role'] as readonly string[] | undefined
  const options: Readonly<Record<string, unknown>> = {
    host: flags['host'],
    port: flags['server-port'],
    user: flags['user'],
    database: flags['database'],
    region: flags['region'],
    profile: flags['profile'],
    signer: flags['signer'],
    assumeRole: roles?.map((roleArn) => ({ roleArn })),
    tls: flags['ca'] === undefined ? undefined : { ca: flags['ca'] },
    connectTo: flags['connect-to'],
    connectTimeoutMs: seconds('connect-timeout'),
    tokenTimeoutMs: seconds('token-timeout'),
    connectRate: flags['connect-rate'],
  }
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}
