/** Keeps what the gateway logs about logins that it refuses. */
import type { Logger } from 'pg-iam'

export interface GatewayLog {
  readonly logger: Logger
  /** Returns the warnings since the last call. */
  takeWarnings(): Warning[]
}

export interface Warning {
  readonly message: string
  /** The reason in one word, as in `gateway.stats().refusals`. */
  readonly reason: string | undefined
}

export function createGatewayLog(): GatewayLog {
  let warnings: Warning[] = []
  return {
    logger: {
      debug: ignore,
      info: ignore,
      warn: (message, details: { reason?: string } = {}) => {
        warnings.push({ message, reason: details.reason })
      },
      error: ignore,
    },
    takeWarnings: () => {
      const taken = warnings
      warnings = []
      return taken
    },
  }
}

function ignore(): void {}
