/** The last line of a program: what the application did, and the counters of its login. */
import { login } from './login.js'

export function report(result: unknown): void {
  const { tokensMade, tokensReused, connectionsOpened, connectionsOpen } = login.stats()
  const counters = { tokensMade, tokensReused, connectionsOpened, connectionsOpen }
  process.stdout.write(`${JSON.stringify({ result, ...counters })}\n`)
}
