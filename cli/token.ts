/** `pg-iam token`: one token, raw, in a URL, or what it says. */
import { isIP } from 'node:net'
import type { Login } from '../core/login.js'
import type { Token } from '../core/tokens/token.js'
import { usageError } from './failure.js'
import type { CommandContext } from './command-context.js'
import { table } from './output.js'
import { resolveTarget } from './target.js'

export async function runToken(context: CommandContext): Promise<number> {
  const { targets, targetFlags, flags, configuration, io, printer, loginLogger, isJson } = context
  if (flags['url'] === true && flags['decode'] === true)
    throw usageError('"--url" and "--decode" must not be given together')
  const { login } = resolveTarget(targets[0], {
    flags: targetFlags,
    configuration,
    env: io.env,
    logger: loginLogger,
  })
  const token = await login.token()
  if (flags['decode'] === true) {
    const fields = { expires: token.expiresAt.toISOString(), ...decodeToken(token.value) }
    printer.result(isJson ? JSON.stringify(fields) : table(fields))
  } else if (flags['url'] === true) {
    const url = urlWith(login, token)
    printer.result(isJson ? JSON.stringify({ url, expiresAt: token.expiresAt }) : url)
  } else {
    const { expiresAt } = token
    printer.result(
      isJson
        ? JSON.stringify({ token: token.value, user: userOf(login, token), expiresAt })
        : token.value,
    )
  }
  return 0
}

function userOf(login: Login, token: Token): string | undefined {
  return token.user ?? login.user
}

/** With an address to dial, libpq takes it as `hostaddr`, and verifies the host. It has no such parameter for a name. */
function urlWith(login: Login, token: Token): string {
  const { host, database, connectTo } = login
  const isDialled = connectTo !== undefined && isIP(connectTo.host) !== 0
  const port = isDialled ? connectTo.port : login.port
  const address = isDialled ? `&hostaddr=${encodeURIComponent(connectTo.host)}` : ''
  const user = encodeURIComponent(userOf(login, token) ?? '')
  return `postgres://${user}:${encodeURIComponent(token.value)}@${host}:${port}/${encodeURIComponent(database)}?sslmode=verify-full${address}`
}

/** What a token says, without what makes it valid: its signature, and the session token of its credentials. */
export function decodeToken(value: string): Record<string, string> {
  return presigned(value) ?? webToken(value) ?? { kind: 'opaque: only its issuer can read it' }
}

/** The tokens of Aurora DSQL and RDS are presigned requests. */
function presigned(value: string): Record<string, string> | undefined {
  if (!value.includes('X-Amz-Signature=')) return undefined
  const url = new URL(`https://${value}`)
  const parameter = (name: string): string => url.searchParams.get(name) ?? ''
  const [accessKeyId = '', date = '', region = '', service = ''] =
    parameter('X-Amz-Credential').split('/')
  const user = url.searchParams.get('DBUser')
  return {
    kind: 'presigned request (AWS Signature Version 4)',
    host: url.host,
    action: parameter('Action'),
    ...(user === null ? {} : { user }),
    region,
    service,
    'access key': accessKeyId,
    'session token': url.searchParams.has('X-Amz-Security-Token') ? 'yes' : 'no',
    'signed at': timeOf(parameter('X-Amz-Date')) ?? date,
    'valid for': `${parameter('X-Amz-Expires')} seconds`,
  }
}

function timeOf(basic: string): string | undefined {
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(basic) ?? []
  return year && `${year}-${month}-${day}T${hour}:${minute}:${second}Z`
}

/** The tokens of Entra ID are JSON Web Tokens. */
function webToken(value: string): Record<string, string> | undefined {
  const parts = value.split('.')
  if (parts.length !== 3) return undefined
  try {
    const [header, claims] = parts
      .slice(0, 2)
      .map((part) => JSON.parse(Buffer.from(part, 'base64url').toString()) as object)
    const shown = Object.entries({ ...header, ...claims }).map(
      ([name, claim]: [string, unknown]) => [name, shownClaim(name, claim)],
    )
    return { kind: 'JSON Web Token', ...(Object.fromEntries(shown) as Record<string, string>) }
  } catch {
    return undefined
  }
}

function shownClaim(name: string, claim: unknown): string {
  const isTime = typeof claim === 'number' && ['exp', 'iat', 'nbf'].includes(name)
  if (isTime) return new Date(claim * 1_000).toISOString()
  return typeof claim === 'string' ? claim : JSON.stringify(claim)
}
