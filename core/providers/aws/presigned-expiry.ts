/** When a presigned request ends. */
import { PgIamError } from '../../errors.js'

/**
 * When a token ends by its own words: the signer's clock may differ from ours, by the SDK's clock-skew correction.
 *
 * Throws `ERR_TOKEN_INVALID` for a token that is no presigned request.
 */
export function presignedExpiry(token: string, provider: string, host: string): number {
  const [, date] = /[?&]X-Amz-Date=(\d{8}T\d{6}Z)/.exec(token) ?? []
  const [, seconds] = /[?&]X-Amz-Expires=(\d+)/.exec(token) ?? []
  if (date === undefined || seconds === undefined) {
    throw new PgIamError(
      'ERR_TOKEN_INVALID',
      `${provider}: the signer's token for ${host} is not a presigned request`,
    )
  }
  const iso = date.replace(/^(\d{4})(\d\d)(\d\dT\d\d)(\d\d)(\d\dZ)$/, '$1-$2-$3:$4:$5')
  return Date.parse(iso) + Number(seconds) * 1000
}
