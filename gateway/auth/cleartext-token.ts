/** Logins with a token in place of the password, which clients send as it is: so do all clouds. */
import { authenticationCleartextPassword } from '../wire/backend-messages.js'
import type { LoginMethod } from './login-method.js'
import { passwordIn } from './password-message.js'
import { checkFailed, type Verifier } from './verifier.js'

/** The method that asks for a clear-text password and hands it to a verifier. */
export function cleartextToken(verifier: Verifier): LoginMethod {
  return {
    async authenticate(request, client) {
      const password = passwordIn(await client.ask(authenticationCleartextPassword()))
      if (typeof password !== 'string') return password
      try {
        return await verifier.verify({ ...request, token: password })
      } catch (error) {
        return checkFailed(error)
      }
    },
  }
}
