/** The password in the message that carries it. */
import { fatal } from './refusal.js'
import { denied, type Denied } from './verifier.js'

/** Returns the text, or the refusal of a message that is not one text with one NUL at its end. */
export function passwordIn(body: Buffer): string | Denied {
  const length = body.length - 1
  if (body.indexOf(0) !== length || length < 0) return malformedAnswer()
  return body.toString('utf8', 0, length)
}

/** The refusal of an answer that is none. */
export function malformedAnswer(explanation: string = 'invalid password packet size'): Denied {
  return denied('protocol-violation', explanation, fatal('08P01', explanation))
}
