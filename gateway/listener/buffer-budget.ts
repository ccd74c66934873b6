/** How much memory there is, for all clients together, for messages that have not come whole or that the engine has not taken. */

export interface BufferBudget {
  readonly maxBytes: number
  /** @param exceeded ends the client, when it holds most of what is too much */
  open(exceeded: () => void): BufferAccount
}

export interface BufferAccount {
  /** Says how much the client holds now. */
  hold(bytes: number): void
  close(): void
}

/** Where it is exceeded, whoever holds most has to go: not one that sends a small message at the wrong moment. */
export function createBufferBudget(maxBytes: number): BufferBudget {
  const accounts = new Set<{ bytes: number; exceeded: () => void }>()
  let total = 0
  return {
    maxBytes,
    open(exceeded) {
      const account = { bytes: 0, exceeded }
      accounts.add(account)
      const close = (one: typeof account): void => {
        if (accounts.delete(one)) total -= one.bytes
      }
      return {
        hold(bytes) {
          if (!accounts.has(account)) return
          total += bytes - account.bytes
          account.bytes = bytes
          while (total > maxBytes) {
            const [first, ...others] = accounts
            const largest = others.reduce((a, b) => (b.bytes > a.bytes ? b : a), first!)
            close(largest)
            largest.exceeded()
          }
        },
        close: () => close(account),
      }
    },
  }
}
