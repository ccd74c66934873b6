/** Endpoints with password logins, as plain PostgreSQL has them. */
import { randomBytes, timingSafeEqual } from 'node:crypto'
import {
  type Check,
  checkOptions,
  invalidSecret,
  isPlainObject,
  oneOf,
} from '../../core/options/check.js'
import type { TokenContext } from '../../core/providers/custom.js'
import {
  authenticationCleartextPassword,
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from '../../wire/messages.js'
import {
  SCRAM,
  SCRAM_PLUS,
  type ScramFault,
  scramHmac,
  scramKeys,
  startScram,
} from '../../wire/scram.js'
import { roleName } from './aws.js'
import {
  COMMON_ENDPOINT_CHECKS,
  type CommonEndpointOptions,
  type EndpointDefinition,
  requiredOption,
} from './endpoint.js'
import { isSameText, md5Answered, md5Hash, STORED_MD5 } from './md5.js'
import { fatal, POSTGRES_ERRORS } from './refusal.js'
import {
  accepted,
  checkFailed,
  denied,
  type Denied,
  type LoginMethod,
  malformedAnswer,
  passwordIn,
  type Verdict,
} from './verifier.js'

export interface PasswordEndpoint extends CommonEndpointOptions {
  provider: 'password'
  /**
   * The passwords by role, or a function that returns a role's password (`undefined` for none) and is called for each login. A password may
   * also be in PostgreSQL's stored form, `SCRAM-SHA-256$...` or `md5...`.
   */
  users: Readonly<Record<string, string>> | PasswordLookup
  /** The authentication method. Default `scram-sha-256`, as in PostgreSQL. */
  method?: 'cleartext' | 'md5' | 'scram-sha-256'
}

export const passwordEndpoint: EndpointDefinition<PasswordEndpoint> = {
  check(value, name) {
    const given = checkOptions(value, CHECKS, `${name}.`)
    return {
      ...given,
      provider: 'password',
      hosts: requiredOption(given.hosts, `${name}.hosts`),
      users: requiredOption(given.users, `${name}.users`),
    }
  },
  roles: ({ users }) => rolesIn(users),
  create({ users, method = 'scram-sha-256' }) {
    const lookUp: PasswordLookup = typeof users === 'function' ? users : (role) => users[role]
    return {
      method: PASSWORD_METHODS[method](lookUp),
      errors: POSTGRES_ERRORS,
      roles: rolesIn(users),
      loginOptions: { getToken: ({ user }: TokenContext) => lookUp(user ?? '') },
    }
  },
}

/** The login methods that compare with a known password. Only a password in clear text is passed to `seen`. */
export const PASSWORD_METHODS: Readonly<
  Record<
    'cleartext' | 'md5' | 'scram-sha-256',
    (lookUp: PasswordLookup, seen?: (password: string) => void) => LoginMethod
  >
> = {
  cleartext: (lookUp, seen) =>
    cleartextPassword(async (role, given) => {
      seen?.(given)
      return comparedWith(lookUp)(role, given)
    }),
  md5: (lookUp) => md5Password(lookUp),
  'scram-sha-256': (lookUp) => scramPassword(lookUp),
}

function rolesIn(users: PasswordEndpoint['users']): string[] {
  return typeof users === 'function' ? [] : Object.keys(users)
}

const passwords: Check<PasswordEndpoint['users']> = (value, name) => {
  if (typeof value === 'function') return value as PasswordLookup
  if (!isPlainObject(value))
    throw invalidSecret(name, 'an object of passwords by role, or a function', value)
  return Object.fromEntries(
    Object.entries(value).map(([role, password]) => [
      roleName(role, name),
      passwordText(password, `${name}.${role}`),
    ]),
  )
}

const passwordText: Check<string> = (value, name) => {
  if (typeof value !== 'string' || value === '' || value.includes('\0'))
    throw invalidSecret(name, 'a non-empty string without NUL', value)
  return value
}

const CHECKS = {
  ...COMMON_ENDPOINT_CHECKS,
  provider: oneOf('password'),
  users: passwords,
  method: oneOf('cleartext', 'md5', 'scram-sha-256'),
} as const

// Password look-up and the errors for wrong passwords.

/**
 * Returns the password of a role, or `undefined` for a role without a password. It may also be the stored form of PostgreSQL's `pg_authid`,
 * `SCRAM-SHA-256$...` or `md5...`.
 */
export type PasswordLookup = (role: string) => string | undefined | PromiseLike<string | undefined>

/** The password of one role. */
interface Expected {
  /** A random one if the role has no password, so that the login takes the same time for all roles. */
  readonly password: string
  readonly isKnown: boolean
}

/** Returns a refusal if the look-up fails. */
async function expectedPassword(lookUp: PasswordLookup, role: string): Promise<Expected | Denied> {
  let password: unknown
  try {
    password = await lookUp(role)
  } catch (error) {
    return checkFailed(error)
  }
  // PostgreSQL rejects empty passwords.
  if (typeof password === 'string' && password !== '') return { password, isKnown: true }
  return { password: randomBytes(32).toString('base64'), isKnown: false }
}

/** The refusal of a wrong password, and of any password for a role without one. Both look the same to the client. */
function wrongPassword(role: string, { isKnown }: Expected): Denied {
  const told = fatal('28P01', `password authentication failed for user "${role}"`)
  return isKnown
    ? denied('password-wrong', 'the password is wrong', told)
    : denied('password-unknown', 'the role has no password at this endpoint', told)
}

/** PostgreSQL's stored forms: see https://www.postgresql.org/docs/current/catalog-pg-authid.html */
const STORED_SCRAM = /^SCRAM-SHA-256\$([1-9]\d{0,8}):([\w+/]+=*)\$([\w+/]{43}=):([\w+/]{43}=)$/

interface ScramSecret {
  readonly keys: { readonly storedKey: Buffer; readonly serverKey: Buffer }
  readonly salt: Buffer
  readonly iterations: number
}

/** The parts of a stored SCRAM password, or `undefined` for any other text. */
function storedScram(text: string): ScramSecret | undefined {
  const [, iterations = '', salt = '', storedKey = '', serverKey = ''] =
    STORED_SCRAM.exec(text) ?? []
  if (serverKey === '') return undefined
  const bytes = (part: string): Buffer => Buffer.from(part, 'base64')
  return {
    keys: { storedKey: bytes(storedKey), serverKey: bytes(serverKey) },
    salt: bytes(salt),
    iterations: Number(iterations),
  }
}

// Clear-text passwords, protected by TLS.

/** Requests a clear-text password and passes it to `decide`. */
export function cleartextPassword(
  decide: (role: string, password: string) => Verdict | Promise<Verdict>,
): LoginMethod {
  return {
    async authenticate({ role }, client) {
      const given = passwordIn(await client.ask(authenticationCleartextPassword()))
      if (typeof given !== 'string') return given
      if (given !== '') return decide(role, given)
      return denied(
        'password-missing',
        'the password is empty',
        fatal('28P01', 'empty password returned by client'),
      )
    },
  }
}

function comparedWith(lookUp: PasswordLookup): (role: string, given: string) => Promise<Verdict> {
  return async (role: string, given: string): Promise<Verdict> => {
    const expected = await expectedPassword(lookUp, role)
    if ('refused' in expected) return expected
    const isRight = (await isPassword(expected.password, role, given)) && expected.isKnown
    return isRight ? accepted(role) : wrongPassword(role, expected)
  }
}

async function isPassword(expected: string, role: string, given: string): Promise<boolean> {
  if (STORED_MD5.test(expected)) return isSameText(expected, md5Hash(given, role))
  const stored = storedScram(expected)
  if (stored === undefined) return isSameText(expected, given)
  const { storedKey } = await scramKeys(given, stored.salt, stored.iterations)
  return timingSafeEqual(storedKey, stored.keys.storedKey)
}

// Passwords as a salted MD5 hash: PostgreSQL's default before SCRAM, and the method of Redshift clients.

function md5Password(lookUp: PasswordLookup): LoginMethod {
  return md5Answered(async ({ role }, isFrom) => {
    const expected = await expectedPassword(lookUp, role)
    if ('refused' in expected) return expected
    // A password that is stored for SCRAM is of no use here. Its stored form must not become a password.
    const isUsable = expected.isKnown && storedScram(expected.password) === undefined
    const isRight = isFrom(expected.password)
    return isRight && isUsable ? accepted(role) : wrongPassword(role, expected)
  })
}

// SCRAM-SHA-256, PostgreSQL's default, with or without channel binding. The client never sends its password.

function scramPassword(lookUp: PasswordLookup): LoginMethod {
  return {
    async authenticate({ role }, client) {
      const channelBinding = client.channelBinding()
      const mechanisms = channelBinding === undefined ? [SCRAM] : [SCRAM_PLUS, SCRAM]
      const chosen = initialResponse(await client.ask(authenticationSasl(mechanisms)))
      if (chosen === undefined) return malformedAnswer('malformed SASL response')
      const { mechanism, clientFirst } = chosen
      if (!mechanisms.includes(mechanism))
        return malformedAnswer('client selected an invalid SASL authentication mechanism')
      const expected = await expectedPassword(lookUp, role)
      if ('refused' in expected) return expected
      const exchange = startScram(mechanism as typeof SCRAM, clientFirst, {
        ...(await scramSecret(expected, role)),
        channelBinding,
      })
      if (typeof exchange === 'string') return faulty(exchange)
      const clientFinal = await client.ask(authenticationSaslContinue(exchange.serverFirst))
      const answer = exchange.answer(clientFinal.toString())
      if (typeof answer === 'string') return faulty(answer)
      if (answer.serverFinal === undefined || !expected.isKnown)
        return wrongPassword(role, expected)
      client.tell(authenticationSaslFinal(answer.serverFinal))
      return accepted(role)
    },
  }
}

/** The salt of a role is constant, whether it exists or not. A random salt would reveal that the role does not exist. */
const SALT_KEY = randomBytes(32)

/** A password that is stored as an MD5 hash is of no use for SCRAM: no client password matches it. */
async function scramSecret({ password }: Expected, role: string): Promise<ScramSecret> {
  const stored = storedScram(password)
  if (stored !== undefined) return stored
  const salt = scramHmac(SALT_KEY, role).subarray(0, 16)
  const usable = STORED_MD5.test(password) ? randomBytes(32).toString('base64') : password
  return { keys: await scramKeys(usable, salt, ITERATIONS), salt, iterations: ITERATIONS }
}

/** PostgreSQL's default. */
const ITERATIONS = 4_096

/** SASLInitialResponse: the mechanism, then the client-first message with its length. */
function initialResponse(body: Buffer): { mechanism: string; clientFirst: string } | undefined {
  const end = body.indexOf(0)
  if (end === -1 || body.length < end + 5) return undefined
  const clientFirst = body.subarray(end + 5)
  if (body.readInt32BE(end + 1) !== clientFirst.length) return undefined
  return { mechanism: body.toString('latin1', 0, end), clientFirst: clientFirst.toString() }
}

function faulty(fault: ScramFault): Denied {
  switch (fault) {
    case 'malformed':
      return malformedAnswer('malformed SCRAM message')
    case 'binding-unused':
      return denied(
        'channel-binding-wrong',
        'the client reported that the server offers no channel binding, although the gateway does',
        fatal('28000', 'SCRAM channel binding negotiation error'),
      )
    case 'binding-wrong':
      return denied(
        'channel-binding-wrong',
        'the channel binding of the client is for the TLS certificate of another server',
        fatal('28000', 'SCRAM channel binding check failed'),
      )
  }
}
