/** Passwords that are sent as an MD5 hash with a salt: PostgreSQL's way before SCRAM, and that of clients of Redshift. */
import { createHash, randomBytes } from 'node:crypto'
import { authenticationMd5Password } from '../../wire/backend-messages.js'
import type { LoginMethod } from '../login-method.js'
import { passwordIn } from '../password-message.js'
import { accepted } from '../verifier.js'
import { expectedPassword, isSameText, wrongPassword, type PasswordLookup } from './passwords.js'

export function md5Password(lookUp: PasswordLookup): LoginMethod {
  return {
    async authenticate({ role }, client) {
      const salt = randomBytes(4)
      const given = passwordIn(await client.ask(authenticationMd5Password(salt)))
      if (typeof given !== 'string') return given
      const expected = await expectedPassword(lookUp, role)
      if ('refused' in expected) return expected
      const isRight = isSameText(md5Answer(expected.password, role, salt), given)
      return isRight && expected.isKnown ? accepted(role) : wrongPassword(role, expected)
    },
  }
}

/** See "MD5 password" in https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP */
function md5Answer(password: string, role: string, salt: Buffer): string {
  return `md5${md5(Buffer.concat([Buffer.from(md5(Buffer.from(password + role))), salt]))}`
}

function md5(bytes: Buffer): string {
  return createHash('md5').update(bytes).digest('hex')
}
