/** The errors of a stream that stands for a socket, with the codes that drivers know from sockets. */
import { PgIamError } from '../errors.js'

export function closedByServer(): Error {
  return Object.assign(new Error('the server closed the connection'), { code: 'ECONNRESET' })
}

export function brokenPipe(): Error {
  return Object.assign(new Error('the connection is closed'), { code: 'EPIPE' })
}

export function closedBeforeOpen(): Error {
  return Object.assign(new Error('the connection was closed before it was open'), {
    code: 'ECONNABORTED',
  })
}

export function tlsTwice(): PgIamError {
  return new PgIamError(
    'ERR_OPTION_CONFLICT',
    'the client is set to do TLS itself, on a connection that has it already',
    {
      hint: 'Leave "ssl" out of the client\'s options: the login brings verified TLS.',
    },
  )
}
