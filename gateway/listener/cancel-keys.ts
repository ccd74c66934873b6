/** The keys by which clients name the session whose query they want cancelled. */
import { randomBytes, timingSafeEqual } from 'node:crypto'

export interface CancelKey {
  readonly processId: number
  readonly secretKey: number
  /** Takes the key back when its session has ended. */
  release(): void
}

export interface CancelKeys {
  /** Makes a secret key beside the process ID, which other sessions may have, too, where the upstream is several servers. */
  issue(processId: number, cancel: () => void): CancelKey
  /** Cancels the session that has this key. Returns `false` when none has; the client is told nothing either way. */
  cancel(processId: number, secretKey: number): boolean
}

export function createCancelKeys(): CancelKeys {
  const sessions = new Map<number, Set<{ secretKey: number; cancel: () => void }>>()
  return {
    issue(processId, cancel) {
      const session = { secretKey: randomBytes(4).readInt32BE(), cancel }
      const sharing = sessions.get(processId) ?? new Set()
      sessions.set(processId, sharing.add(session))
      return {
        processId,
        secretKey: session.secretKey,
        release() {
          sharing.delete(session)
          if (sharing.size === 0 && sessions.get(processId) === sharing) sessions.delete(processId)
        },
      }
    },
    cancel(processId, secretKey) {
      for (const session of sessions.get(processId) ?? []) {
        if (!isSame(session.secretKey, secretKey)) continue
        session.cancel()
        return true
      }
      return false
    },
  }
}

function isSame(a: number, b: number): boolean {
  const bytes = Buffer.alloc(8)
  bytes.writeInt32BE(a, 0)
  bytes.writeInt32BE(b, 4)
  return timingSafeEqual(bytes.subarray(0, 4), bytes.subarray(4))
}
