/** Passwords that are sent as they are, within TLS. */
import { authenticationCleartextPassword } from '../../wire/backend-messages.js'
import type { LoginMethod } from '../login-method.js'
import { passwordIn } from '../password-message.js'
import { fatal } from '../refusal.js'
import { accepted, denied } from '../verifier.js'
import { expectedPassword, isSameText, wrongPassword, type PasswordLookup } from './passwords.js'

export function cleartextPassword(lookUp: PasswordLookup): LoginMethod {
  return {
    async authenticate({ role }, client) {
      const given = passwordIn(await client.ask(authenticationCleartextPassword()))
      if (typeof given !== 'string') return given
      if (given === '')
        return denied(
          'password-missing',
          'the password is empty',
          fatal('28P01', 'empty password returned by client'),
        )
      const expected = await expectedPassword(lookUp, role)
      if ('refused' in expected) return expected
      const isRight = isSameText(expected.password, given) && expected.isKnown
      return isRight ? accepted(role) : wrongPassword(role, expected)
    },
  }
}
