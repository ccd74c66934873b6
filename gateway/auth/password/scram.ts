/** Passwords that never leave the client: SCRAM-SHA-256, PostgreSQL's default, with or without channel binding. */
import { randomBytes } from 'node:crypto'
import {
  authenticationSasl,
  authenticationSaslContinue,
  authenticationSaslFinal,
} from '../../wire/backend-messages.js'
import { scramHmac, scramKeys } from '../../../core/wire/scram-keys.js'
import type { LoginMethod } from '../login-method.js'
import { malformedAnswer } from '../password-message.js'
import { fatal } from '../refusal.js'
import { accepted, denied, type Denied } from '../verifier.js'
import { expectedPassword, wrongPassword, type PasswordLookup } from './passwords.js'
import { SCRAM, SCRAM_PLUS, startScram, type ScramFault } from './scram-server.js'

export function scramPassword(lookUp: PasswordLookup): LoginMethod {
  // The salt of a role is always the same, whether it exists or not, so that nobody can find out by asking twice.
  const secret = randomBytes(32)
  return {
    async authenticate({ role }, client) {
      const offered = authenticationSasl([SCRAM_PLUS, SCRAM])
      const chosen = initialResponse(await client.ask(offered))
      if (chosen === undefined) return malformedAnswer('malformed SASL response')
      const { mechanism, clientFirst } = chosen
      if (mechanism !== SCRAM && mechanism !== SCRAM_PLUS)
        return malformedAnswer('client selected an invalid SASL authentication mechanism')
      const expected = await expectedPassword(lookUp, role)
      if ('refused' in expected) return expected
      const salt = scramHmac(secret, role).subarray(0, 16)
      const exchange = startScram(mechanism, clientFirst, {
        keys: await scramKeys(expected.password, salt, ITERATIONS),
        salt,
        iterations: ITERATIONS,
        channelBinding: client.channelBinding(),
      })
      if (typeof exchange === 'string') return faulty(exchange)
      const clientFinal = await client.ask(authenticationSaslContinue(exchange.serverFirst))
      const answer = exchange.answer(clientFinal.toString())
      if (typeof answer === 'string') return faulty(answer)
      if (answer.serverFinal === undefined || !expected.isKnown)
        return wrongPassword(role, expected)
      client.tell(authenticationSaslFinal(answer.serverFinal))
      return accepted(role)
    },
  }
}

/** PostgreSQL's default. */
const ITERATIONS = 4_096

/** SASLInitialResponse: a mechanism, and a text of which the length is told. */
function initialResponse(body: Buffer): { mechanism: string; clientFirst: string } | undefined {
  const end = body.indexOf(0)
  if (end === -1 || body.length < end + 5) return undefined
  const clientFirst = body.subarray(end + 5)
  if (body.readInt32BE(end + 1) !== clientFirst.length) return undefined
  return { mechanism: body.toString('latin1', 0, end), clientFirst: clientFirst.toString() }
}

function faulty(fault: ScramFault): Denied {
  switch (fault) {
    case 'malformed':
      return malformedAnswer('malformed SCRAM message')
    case 'binding-unused':
      return denied(
        'channel-binding-wrong',
        'the client believes that there is no channel binding, and was offered it',
        fatal('28000', 'SCRAM channel binding negotiation error'),
      )
    case 'binding-wrong':
      return denied(
        'channel-binding-wrong',
        'the client is bound to the TLS certificate of another server',
        fatal('28000', 'SCRAM channel binding check failed'),
      )
  }
}
