/** The socket function of a login, for any PostgreSQL driver that takes one. */
import type { Duplex } from 'node:stream'
import { createStreamFactory } from './connection/login-stream.js'
import { loginOf, type LoginOrUrl } from './login-from.js'
import { type Check, checkOptions, invalidOption } from './options/check.js'

export interface StreamFactoryOptions {
  /**
   * The names of the startup parameters that take precedence over those of the login, such as `['application_name']`. Default: all that the
   * driver sends.
   */
  driverParameters?: readonly string[]
}

/**
 * Returns the socket function for a PostgreSQL driver that takes one, such as the `stream` option of pg and of Effect SQL, or the `socket`
 * option of Postgres.js. Each call returns the stream of one physical connection, which logs in with its own token.
 *
 * The driver must:
 *
 * - call the function once for each physical connection, and use the result as an unconnected `net.Socket`;
 * - write its startup packet (protocol 3) first, or a cancel request. The stream then gets a token, dials the login's server, verifies
 *   TLS and logs in; the driver's first message from the server is AuthenticationOk;
 * - neither use TLS nor send a password: the stream has done both. An SSLRequest fails with `ERR_OPTION_CONFLICT`.
 *
 * User and database of the startup packet are replaced with those of the login. If the connection cannot be opened, the stream is destroyed
 * with the error of the network, of the login's `token()`, or `ERR_CONNECT_TIMEOUT`. A server that rejects the login is reported to the
 * driver with the server's own ErrorResponse.
 *
 * Exported from `'pg-iam'`.
 *
 * @param given a login, or a URL for {@link loginFromUrl}
 * @throws PgIamError `ERR_OPTION_INVALID` for an invalid login or option
 */
export function streamFactory(given: LoginOrUrl, options: StreamFactoryOptions = {}): () => Duplex {
  const login = loginOf(given)
  const { driverParameters } = checkOptions(options, { driverParameters: parameterNames })
  return createStreamFactory(login, {
    ...(driverParameters === undefined ? {} : { given: driverParameters }),
  })
}

const parameterNames: Check<readonly string[]> = (value, name) => {
  if (!Array.isArray(value) || !value.every((one) => typeof one === 'string' && one !== ''))
    throw invalidOption(name, 'an array of names of startup parameters', value)
  return value.map((one: string) => one.toLowerCase())
}
