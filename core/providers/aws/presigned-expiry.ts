/** When a presigned request ends. */
import { PgIamError } from '../../errors.js'

/**
 * When a token ends by its own words: the signer's clock may differ from ours, by the SDK's clock-skew correction.
 *
 * Throws `ERR_TOKEN_INVALID` for a token that is no presigned request.
 */
export function presignedExpiry(token: string, provider: string, host: string): number {
  const signedAt = basicTime(parameter(token, 'X-Amz-Date'))
  const seconds = parameter(token, 'X-Amz-Expires')
  if (Number.isNaN(signedAt) || !/^\d+$/.test(seconds)) {
    throw new PgIamError(
      'ERR_TOKEN_INVALID',
      `${provider}: the signer's token for ${host} is not a presigned request`,
    )
  }
  return signedAt + Number(seconds) * 1_000
}

/** A parameter of the query, without an expression over the whole: a token is made for each connection, and is long. */
function parameter(token: string, name: string): string {
  for (let at = token.indexOf(name); at !== -1; at = token.indexOf(name, at + 1)) {
    const value = at + name.length + 1
    if (!'?&'.includes(token[at - 1] ?? ' ') || token[value - 1] !== '=') continue
    const end = token.indexOf('&', value)
    return token.slice(value, end === -1 ? undefined : end)
  }
  return ''
}

/** Epoch milliseconds of `YYYYMMDDTHHMMSSZ`, or `NaN`. All that is signed within a second carries the same one. */
function basicTime(text: string): number {
  if (text !== latest.text) latest = { text, time: parseBasicTime(text) }
  return latest.time
}

let latest = { text: '', time: NaN }

function parseBasicTime(text: string): number {
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text)
  if (match === null) return NaN
  const [, year, month, day, hours, minutes, seconds] = match
  return Date.UTC(+year!, +month! - 1, +day!, +hours!, +minutes!, +seconds!)
}
