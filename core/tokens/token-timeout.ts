/** The error for a token, or the credentials for it, that did not come in time. */
import { PgIamError } from '../errors.js'

export function tokenTimeout(message: string): PgIamError {
  return new PgIamError('ERR_TOKEN_TIMEOUT', message, {
    retryable: true,
    hint: 'Check what gives the credentials (profile, metadata endpoint, STS), or raise "tokenTimeoutMs".',
  })
}
