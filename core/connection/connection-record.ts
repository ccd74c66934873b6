/** Counts and reports one physical connection. */
import { publish } from '../events.js'
import { internalsOf, type Login } from '../login.js'

export interface ConnectionRecord {
  /** Is to be called when either side begins to close the connection: it does not count as open from then on. */
  closing(): void
  closed(error?: Error): void
}

/** Records that a connection of `login` to `host` logged in, which began to be opened at `startedAt`. */
export function recordConnection(login: Login, host: string, startedAt: number): ConnectionRecord {
  const internals = internalsOf(login)
  const { provider } = login
  const identity = { provider, host, user: login.user, connectionId: nextConnectionId++ }
  const openedAt = Date.now()
  let isCounted = true
  let isOpen = true
  const report = internals?.report ?? publish
  internals?.connectionOpened()
  report('pg-iam:connection.opened', () => ({ ...identity, elapsedMs: openedAt - startedAt }))
  const closing = (): void => {
    if (isCounted) internals?.connectionClosed()
    isCounted = false
  }
  return {
    closing,
    closed(error) {
      if (!isOpen) return
      isOpen = false
      closing()
      report('pg-iam:connection.retired', () => ({
        ...identity,
        ageMs: Date.now() - openedAt,
        ...(error === undefined ? {} : { error }),
      }))
    },
  }
}

let nextConnectionId = 1
