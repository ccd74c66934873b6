/** Who signs tokens: the packages of AWS, or pg-iam itself. */
import { isPgIamError, PgIamError } from '../../errors.js'
import { peerError } from '../../load-peer.js'
import { type Check, describeKind, isText, oneOf } from '../../options/check.js'
import { createToken, type Token } from '../../tokens/token.js'
import type { AwsCredentials } from './credentials.js'

export interface SignerOptions {
  /**
   * Who signs the tokens.
   *
   * - `'aws-sdk'`: `@aws-sdk/dsql-signer` for Aurora DSQL, `@aws-sdk/rds-signer` for RDS. AWS maintains them. The package must be
   *   installed, and is loaded with the first token.
   * - `'built-in'`: pg-iam, by the same algorithm (Signature Version 4). The tokens are the same, byte for byte; nothing is loaded.
   *
   * Default `'aws-sdk'`; `'built-in'` for `gateway.login()`.
   */
  signer?: 'aws-sdk' | 'built-in'
}

export const SIGNER_CHECKS: { signer: Check<'aws-sdk' | 'built-in'> } = {
  signer: oneOf('aws-sdk', 'built-in'),
}

export interface SdkTokenSettings<Package> {
  /** The provider and the host, for messages. */
  provider: string
  host: string
  packageName: string
  load: () => Promise<Package>
  /** Makes a signer, and returns its function that signs a token. */
  createSigner: (
    from: Package,
    credentials: () => Promise<AwsCredentials>,
  ) => () => Promise<unknown>
  /** Gives credentials fit to sign with now. */
  credentials: () => Promise<AwsCredentials>
}

/**
 * Creates the function that has a new token signed by a package of AWS. The package is loaded, and its signer created, by the first
 * call that succeeds in it; all later calls use that signer.
 *
 * The signer gets the credentials that the login keeps, whatever it asks for: `rds-signer` (3.1169) asks a second time, with
 * `forceRefresh`, for credentials that end within 15 minutes, and `dsql-signer` (3.1142) would look for its own, without `profile`.
 */
export function sdkTokenIssuer<Package>({
  load,
  createSigner,
  credentials,
  ...names
}: SdkTokenSettings<Package>): () => Promise<Token> {
  let sign: (() => Promise<unknown>) | undefined
  let current: AwsCredentials
  return async () => {
    // Before any credentials are looked for: a package that is missing is found out at once.
    if (sign === undefined) {
      const loaded = await load()
      // Another call may have come first while this one waited.
      sign ??= createSigner(loaded, async () => current)
    }
    for (;;) {
      const own = (current = await credentials())
      const value = await sign()
      // Another call may have renewed the credentials while this one was signing. Which of them the signer took is not known then,
      // and the token must not outlive those.
      if (own === current) return presignedToken(value, own, names)
    }
  }
}

/**
 * Returns what to throw when loading a signer has failed with `error`. The `import()` itself stands with the caller, in a `try`: see
 * `peerError`.
 */
export function signerError(error: unknown, packageName: string): unknown {
  const explained = peerError(error, packageName)
  if (!isPgIamError(explained)) return explained
  return new PgIamError(explained.code, explained.message, {
    hint: `${explained.hint}. Or give signer: 'built-in', which signs the same tokens without a package of AWS.`,
    cause: error,
  })
}

/** Reads when a presigned request ends, and caps that by the end of the credentials. Throws `ERR_TOKEN_INVALID` for anything else. */
function presignedToken(
  value: unknown,
  { expiration }: AwsCredentials,
  { provider, host, packageName }: { provider: string; host: string; packageName: string },
): Token {
  const invalid = (what: string): PgIamError =>
    new PgIamError(
      'ERR_TOKEN_INVALID',
      `${provider}: the token of ${packageName} for ${host} ${what}`,
      { hint: `Install another version of ${packageName}, or give signer: 'built-in'.` },
    )
  if (!isText(value)) {
    throw invalid(
      `must be a non-empty string without control characters, got ${describeKind(value)}`,
    )
  }
  const signedAt = basicTime(queryParameter(value, 'X-Amz-Date'))
  if (Number.isNaN(signedAt)) throw invalid('has no "X-Amz-Date" such as 20260131T235959Z')
  const seconds = queryParameter(value, 'X-Amz-Expires')
  if (!/^\d{1,6}$/.test(seconds)) throw invalid('has no "X-Amz-Expires" in seconds')
  const endsAt = signedAt + Number(seconds) * 1_000
  return createToken(value, new Date(Math.min(endsAt, expiration?.getTime() ?? Infinity)))
}

/** Without an expression over the whole query: a token is made for each connection, and may have a session token of 1,000 characters. */
function queryParameter(token: string, name: string): string {
  for (let at = token.indexOf(name); at !== -1; at = token.indexOf(name, at + 1)) {
    const valueAt = at + name.length + 1
    if (!'?&'.includes(token[at - 1] ?? ' ') || token[valueAt - 1] !== '=') continue
    const end = token.indexOf('&', valueAt)
    return token.slice(valueAt, end === -1 ? undefined : end)
  }
  return ''
}

/** Epoch milliseconds of `YYYYMMDDTHHMMSSZ`, or `NaN`. Tokens of one second have the same, so the last one is kept. */
function basicTime(text: string): number {
  if (text !== last.text) last = { text, time: parsedTime(text) }
  return last.time
}

let last = { text: '', time: NaN }

function parsedTime(text: string): number {
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text)
  if (parts === null) return NaN
  const [, year, month, day, hours, minutes, seconds] = parts
  return Date.parse(`${year}-${month}-${day}T${hours}:${minutes}:${seconds}Z`)
}
