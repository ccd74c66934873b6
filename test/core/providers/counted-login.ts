/** A custom login whose calls are counted, and whose clock is set by the test. */
import type { CustomLoginOptions, GivenToken, Login } from '../../../core/index.js'
import { createCustomLogin } from '../../../core/providers/custom.js'

export const HOST = 'db.shop.example'
export const START = 1_700_000_000_000

interface Counted {
  login: Login
  calls: () => number
  pass: (ms: number) => void
}

/** A login whose `getToken` is `give`, which gets the number of the call and the time. */
export function counted(
  give: (call: number, now: number) => unknown,
  options: Partial<CustomLoginOptions> = {},
  env: Record<string, string> = {},
): Counted {
  let now = START
  let calls = 0
  const getToken = (): never => give(++calls, now) as never
  const login = createCustomLogin({ host: HOST, user: 'app', getToken, ...options }, env, () => now)
  return { login, calls: () => calls, pass: (ms) => (now += ms) }
}

export const endingAt = (time: number, value = 'token'): GivenToken => ({
  value,
  expiresAt: new Date(time),
})
