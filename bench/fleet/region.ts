/** One Region of the service: the results of logins, and the lifetimes of sessions. */
import {
  createConnectionLimiter,
  type ConnectionLimits,
  type RefusalCode,
} from './connection-limiter.js'
import type { Recorder } from './recorder.js'
import type { VirtualTime } from './virtual-time.js'

export interface Session {
  /** Closes the session from the client's side. */
  destroy(): void
}

export interface Region {
  readonly host: string
  /** Answers a login with a session or a refusal, or not at all. `ended` is called when the service ends the session. */
  logIn(ended: () => void): Session | RefusalCode | undefined
  /** Ends all sessions. Later logins get no answer. */
  fail(): void
  recover(): void
}

export function createRegion(
  host: string,
  limits: ConnectionLimits,
  time: VirtualTime,
  recorder: Recorder,
): Region {
  const limiter = createConnectionLimiter(limits, time.now)
  const sessions = new Set<{ end: () => void }>()
  let isUp = true

  const open = (ended: () => void): Session => {
    const close = (): boolean => {
      if (!sessions.delete(session)) return false
      cancelEnd()
      limiter.release()
      recorder.closed(host)
      return true
    }
    const session = {
      end: () => {
        if (close()) ended()
      },
      destroy: () => void close(),
    }
    const cancelEnd = time.after(limits.maxSessionMs, () => {
      recorder.count('endedByService')
      session.end()
    })
    sessions.add(session)
    recorder.opened(host)
    return session
  }
  return {
    host,
    logIn(ended) {
      recorder.count('attempts')
      if (!isUp) {
        recorder.count('unanswered')
        return undefined
      }
      const refusal = limiter.admit()
      if (refusal === undefined) return open(ended)
      recorder.count(refusal)
      return refusal
    },
    fail() {
      isUp = false
      for (const session of sessions) session.end()
    },
    recover() {
      isUp = true
    },
  }
}
