/** The keys by which clients name the session whose query they want cancelled. */
import { randomBytes, timingSafeEqual } from 'node:crypto'

export interface CancelKey {
  readonly processId: number
  readonly secretKey: number
  /** Takes the key back when its session has ended. */
  release(): void
}

export interface CancelKeys {
  issue(cancel: () => void): CancelKey
  /** Cancels the session that has this key. Returns `false` when none has; the client is told nothing either way. */
  cancel(processId: number, secretKey: number): boolean
}

export function createCancelKeys(): CancelKeys {
  const sessions = new Map<number, { secretKey: number; cancel: () => void }>()
  let lastProcessId = 0
  return {
    issue(cancel) {
      const processId = nextFree(lastProcessId, sessions)
      lastProcessId = processId
      const secretKey = randomBytes(4).readInt32BE()
      sessions.set(processId, { secretKey, cancel })
      return { processId, secretKey, release: () => void sessions.delete(processId) }
    },
    cancel(processId, secretKey) {
      const session = sessions.get(processId)
      if (session === undefined || !isSame(session.secretKey, secretKey)) return false
      session.cancel()
      return true
    },
  }
}

/** Clients show process IDs and keep them in 32 bits with a sign, so they are small and never reused while in use. */
function nextFree(last: number, used: ReadonlyMap<number, unknown>): number {
  let next = last
  do {
    next = next >= 0x7fff_ffff ? 1 : next + 1
  } while (used.has(next))
  return next
}

function isSame(a: number, b: number): boolean {
  const bytes = Buffer.alloc(8)
  bytes.writeInt32BE(a, 0)
  bytes.writeInt32BE(b, 4)
  return timingSafeEqual(bytes.subarray(0, 4), bytes.subarray(4))
}
