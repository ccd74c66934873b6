/** Signing of tokens by AWS's packages. */
import { isPgIamError, PgIamError } from '../../errors.js'
import { peerError } from '../../load-peer.js'
import { type Check, describeKind, isText, oneOf } from '../../options/check.js'
import { createToken, type Token } from '../../tokens/token.js'
import type { AwsCredentials } from './credentials.js'

export interface SignerOptions {
  /**
   * The signer of the tokens.
   *
   * - `'aws-sdk'`: `@aws-sdk/dsql-signer` for Aurora DSQL, `@aws-sdk/rds-signer` for RDS, maintained by AWS. The package must be installed.
   *   It is loaded for the first token.
   * - `'built-in'`: pg-iam's implementation of the same algorithm (Signature Version 4). The tokens are identical. No package is loaded.
   *
   * Default `'aws-sdk'`; `'built-in'` for `gateway.login()`.
   */
  signer?: 'aws-sdk' | 'built-in'
}

export const SIGNER_CHECKS: { signer: Check<'aws-sdk' | 'built-in'> } = {
  signer: oneOf('aws-sdk', 'built-in'),
}

export interface SdkTokenSettings<Package> {
  /** Provider and host, for messages. */
  provider: string
  host: string
  packageName: string
  load: () => Promise<Package>
  /** Creates a signer, and returns its function that signs a token. */
  createSigner: (
    from: Package,
    credentials: () => Promise<AwsCredentials>,
  ) => () => Promise<unknown>
  /** Returns credentials that are valid for signing now. */
  credentials: () => Promise<AwsCredentials>
}

/**
 * Creates the function that signs a new token with an AWS package. The first successful call loads the package and creates its signer,
 * which later calls use.
 *
 * The signer always gets the login's current credentials. On its own, `rds-signer` (3.1169) calls the provider a second time, with
 * `forceRefresh`, for credentials that expire within 15 minutes, and `dsql-signer` (3.1142) would look for credentials without `profile`.
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
    // Loaded before the credentials, so that a missing package is reported first.
    if (sign === undefined) {
      const loaded = await load()
      // A concurrent call may have set it in the meantime.
      sign ??= createSigner(loaded, async () => current)
    }
    for (;;) {
      const own = (current = await credentials())
      const value = await sign()
      // If a concurrent call has renewed the credentials meanwhile, it is unknown which ones the signer used. The token must not outlive
      // those, so it is signed again.
      if (own === current) return presignedToken(value, own, names)
    }
  }
}

/** Returns the error to throw if loading a signer failed with `error`. The `import()` must be in the caller's `try`: see `peerError`. */
export function signerError(error: unknown, packageName: string): unknown {
  const explained = peerError(error, packageName)
  if (!isPgIamError(explained)) return explained
  return new PgIamError(explained.code, explained.message, {
    hint: `${explained.hint}. Or set signer: 'built-in', which creates the same tokens without an AWS package.`,
    cause: error,
  })
}

/** Reads the expiry of a presigned request, limited by that of the credentials. Throws `ERR_TOKEN_INVALID` for anything else. */
function presignedToken(
  value: unknown,
  { expiration }: AwsCredentials,
  { provider, host, packageName }: { provider: string; host: string; packageName: string },
): Token {
  const invalid = (what: string): PgIamError =>
    new PgIamError(
      'ERR_TOKEN_INVALID',
      `${provider}: the token of ${packageName} for ${host} ${what}`,
      { hint: `Install another version of ${packageName}, or set signer: 'built-in'.` },
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

/** No regular expression over the whole query: a token is created per connection, and its session token may have 1,000 characters. */
function queryParameter(token: string, name: string): string {
  for (let at = token.indexOf(name); at !== -1; at = token.indexOf(name, at + 1)) {
    const valueAt = at + name.length + 1
    if (!'?&'.includes(token[at - 1] ?? ' ') || token[valueAt - 1] !== '=') continue
    const end = token.indexOf('&', valueAt)
    return token.slice(valueAt, end === -1 ? undefined : end)
  }
  return ''
}

/** Epoch milliseconds of `YYYYMMDDTHHMMSSZ`, or `NaN`. The last result is cached, since tokens of the same second share it. */
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
