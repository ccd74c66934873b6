/** What a driver asks of its socket, which it may do before there is one. */
import type { Socket } from 'node:net'

export interface SocketSettings {
  set(change: (socket: Socket) => void): void
  /** Makes all changes so far, and later ones at once. */
  apply(socket: Socket): void
}

export function createSocketSettings(): SocketSettings {
  const waiting: ((socket: Socket) => void)[] = []
  let target: Socket | undefined
  return {
    set(change) {
      if (target === undefined) waiting.push(change)
      else change(target)
    },
    apply(socket) {
      target = socket
      for (const change of waiting.splice(0)) change(socket)
    },
  }
}
