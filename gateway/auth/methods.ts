/** The authentication methods of `handleConnection`, by the option `auth`. */
import { PgIamError } from '../../core/errors.js'
import {
  type AuthMethod,
  type ClientCredentials,
  type ConnectionAuth,
  type ConnectionState,
  type HandleConnectionOptions,
  isOwnAuth,
} from '../connection/connection-options.js'
import { clientCertificate } from './certificate.js'
import { cleartextPassword, PASSWORD_METHODS } from './password.js'
import { fatal, withoutText } from './refusal.js'
import { accepted, denied, type LoginMethod, type Verdict } from './verifier.js'

type Hooks = Pick<HandleConnectionOptions, 'password' | 'validateCredentials'>

/** Throws `ERR_OPTION_INVALID` if a function has returned a method that lacks its hooks, or that does not exist. */
export function methodOf(
  auth: AuthMethod | ConnectionAuth,
  hooks: Hooks,
  state: ConnectionState,
): ConnectionAuth {
  if (isOwnAuth(auth)) return auth
  switch (auth) {
    case 'none':
      return { authenticate: ({ role }) => accepted(role) }
    case 'certificate':
      return certificateMethod(hooks, state)
    case 'cleartext':
    case 'md5':
    case 'scram-sha-256':
      return passwordMethod(auth, hooks, state)
    default:
      throw new PgIamError('ERR_OPTION_INVALID', '"auth" returned no method of authentication')
  }
}

function passwordMethod(
  method: 'cleartext' | 'md5' | 'scram-sha-256',
  { password, validateCredentials }: Hooks,
  state: ConnectionState,
): LoginMethod {
  const validated = (credentials: ClientCredentials): Promise<Verdict> =>
    verdictOf(
      validateCredentials,
      credentials,
      state,
      denied(
        'password-wrong',
        '"validateCredentials" did not accept the credentials',
        fatal('28P01', `password authentication failed for user "${credentials.user}"`),
      ),
    )
  if (password === undefined) {
    if (method === 'cleartext' && validateCredentials !== undefined)
      return cleartextPassword((user, given) => validated({ method, user, password: given }))
    throw new PgIamError('ERR_OPTION_INVALID', `"password" must be given with auth: "${method}"`)
  }
  return {
    async authenticate(request, client) {
      let thrown: { readonly error: unknown } | undefined
      let given = ''
      const compared = PASSWORD_METHODS[method](
        async () => {
          try {
            return await password(state)
          } catch (error) {
            thrown = { error }
            throw error
          }
        },
        (text) => (given = text),
      )
      const verdict = await compared.authenticate(request, client)
      // The client gets the error of the hook, and not that of a failed look-up.
      if (thrown !== undefined) throw withoutText(thrown.error)
      if ('refused' in verdict || validateCredentials === undefined) return verdict
      const user = request.role
      return validated(
        method === 'cleartext' ? { method, user, password: given } : { method, user },
      )
    },
  }
}

function certificateMethod({ validateCredentials }: Hooks, state: ConnectionState): LoginMethod {
  if (validateCredentials === undefined) return clientCertificate
  return {
    authenticate({ role: user }, client) {
      const presented = client.certificate()
      if (presented === undefined)
        return denied(
          'certificate-missing',
          'the client sent no certificate',
          fatal('28000', 'connection requires a valid client certificate'),
        )
      const { certificate, commonName, fault } = presented
      const authorized = fault === undefined
      return verdictOf(
        validateCredentials,
        { method: 'certificate', user, certificate, commonName, authorized },
        state,
        denied(
          'certificate-wrong',
          '"validateCredentials" did not accept the certificate',
          fatal('28000', `certificate authentication failed for user "${user}"`),
        ),
      )
    },
  }
}

async function verdictOf(
  validate: Hooks['validateCredentials'],
  credentials: ClientCredentials,
  state: ConnectionState,
  refused: Verdict,
): Promise<Verdict> {
  const isAccepted: unknown = await validate?.(credentials, state)
  return isAccepted === true ? accepted(credentials.user) : refused
}
