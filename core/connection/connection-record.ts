/** Counts and reports one physical connection. */
import { publish } from '../events.js'
import { RECORDER, type ConnectionRecorder, type Login } from '../login.js'

export interface ConnectionRecord {
  closed(error?: Error): void
}

/** Records that a connection of `login` logged in, which began to be opened at `startedAt`. */
export function recordConnection(login: Login, startedAt: number): ConnectionRecord {
  const recorder = (login as { [RECORDER]?: ConnectionRecorder })[RECORDER]
  const { provider, host } = login
  const identity = { provider, host, user: login.user, connectionId: nextConnectionId++ }
  const openedAt = Date.now()
  let isOpen = true
  recorder?.opened()
  publish('pg-iam:connection.opened', () => ({ ...identity, elapsedMs: openedAt - startedAt }))
  return {
    closed(error) {
      if (!isOpen) return
      isOpen = false
      recorder?.closed()
      publish('pg-iam:connection.retired', () => ({
        ...identity,
        ageMs: Date.now() - openedAt,
        ...(error === undefined ? {} : { error }),
      }))
    },
  }
}

let nextConnectionId = 1
