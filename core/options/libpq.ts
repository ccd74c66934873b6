/** What libpq's parameters mean here, whether they come in a URL or from the environment. */
import { invalidOption } from './check.js'

/**
 * Throws `ERR_OPTION_INVALID` for a value that asks for what pg-iam does not do. The values that are taken ask for what is done
 * anyway, or for nothing.
 *
 * @param parameter as libpq calls it
 * @param name for messages: the same, or the variable
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
    hint: 'Remove it: a token is sent as a password, and only SCRAM has channel binding. TLS is always verified, which keeps anybody in between out.',
  },
  gssencmode: {
    variable: 'PGGSSENCMODE',
    taken: ['disable', 'prefer'],
    hint: 'Remove it: a token is sent over TLS, and pg-iam does not use GSSAPI.',
  },
  require_auth: {
    variable: 'PGREQUIREAUTH',
    taken: [],
    hint: 'Remove it: a server that asks for something that the token is no answer to is refused anyway.',
  },
  target_session_attrs: {
    variable: 'PGTARGETSESSIONATTRS',
    taken: ['any'],
    hint: 'Remove it for now: give the endpoint that leads to the writer, or to the readers.',
  },
  load_balance_hosts: {
    variable: 'PGLOADBALANCEHOSTS',
    taken: ['disable'],
    hint: 'Remove it: the hosts are tried in their order. A reader endpoint spreads connections.',
  },
  sslsni: {
    variable: 'PGSSLSNI',
    taken: ['1'],
    hint: 'Remove it: the name of the host is always sent.',
  },
  sslcertmode: {
    variable: 'PGSSLCERTMODE',
    taken: ['disable', 'allow'],
    hint: 'Remove it: the token says who logs in, and pg-iam sends no client certificate.',
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

/** The variables that libpq reads for the parameters that {@link onlyHarmless} knows. */
export const HARMLESS_VARIABLES: Readonly<Record<string, string>> = Object.fromEntries(
  Object.entries(HARMLESS).map(([parameter, { variable }]) => [parameter, variable]),
)

/**
 * libpq's `connect_timeout`, in seconds, as milliseconds. Zero and less wait for ever in libpq, and here as long as any login may: ten
 * minutes. One second counts as two, as in libpq before version 17.
 */
export function connectTimeoutMs(value: string, name: string): number {
  if (!/^\s*-?\d{1,10}\s*$/.test(value)) throw invalidOption(name, 'an integer of seconds', value)
  const seconds = Number(value)
  return seconds <= 0 ? LONGEST_MS : Math.min(LONGEST_MS, Math.max(2, seconds) * 1_000)
}

const LONGEST_MS = 600_000

/** A list of hosts as libpq takes it, separated by commas. */
export function hostList(value: string, name: string): readonly [string, ...string[]] {
  const hosts = value.split(',')
  if (hosts.some((host) => host === ''))
    throw invalidOption(name, 'a host, or several separated by commas', value)
  return hosts as [string, ...string[]]
}
