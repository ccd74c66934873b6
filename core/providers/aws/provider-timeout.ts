/** A limit to how long a credentials provider may take. */
import { tokenTimeout } from '../../tokens/token-timeout.js'
import { withinTimeout } from '../../within-timeout.js'
import type { AwsCredentialsProvider } from './credentials.js'

/**
 * Wraps `provider` so that a call of it which never answers fails. Connections that are opened together share one call, so
 * without a limit of its own that call would be waited for by every later connection too.
 */
export function answeringWithin(
  provider: AwsCredentialsProvider,
  milliseconds: number,
): AwsCredentialsProvider {
  return (...options) => {
    const answer = provider(...options)
    if (!('then' in Object(answer))) return answer
    return withinTimeout(Promise.resolve(answer), milliseconds, () =>
      tokenTimeout(`could not get AWS credentials within ${milliseconds} ms`),
    )
  }
}
