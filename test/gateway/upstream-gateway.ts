/** A gateway with a real PostgreSQL server for one test file, and its log. */
import type { Logger } from '../../core/events.js'
import { type Gateway, type GatewayOptions, startGateway } from '../../gateway/index.js'
import { launchPostgres, type PostgresServer } from '../support/launch-postgres.js'

export interface LogLine {
  level: keyof Logger
  message: string
  details: Record<string, unknown>
}

export interface LogRecorder {
  logger: Logger
  lines: LogLine[]
  /** Resolves with the next log line about a refusal for this reason, and skips lines before it. */
  refusal(reason: string): Promise<LogLine>
  /** Resolves with the next log line with this message, and skips lines before it. */
  line(message: string): Promise<LogLine>
}

export function recordLog(): LogRecorder {
  const lines: LogLine[] = []
  let wake: (() => void) | undefined
  let read = 0
  const record =
    (level: keyof Logger) =>
    (message: string, details: object = {}): void => {
      lines.push({ level, message, details: details as Record<string, unknown> })
      wake?.()
    }
  const next = async (fits: (line: LogLine) => boolean): Promise<LogLine> => {
    for (;;) {
      while (read < lines.length) {
        const line = lines[read++]!
        if (fits(line)) return line
      }
      await new Promise<void>((resolve) => (wake = resolve))
    }
  }
  return {
    lines,
    logger: {
      debug: record('debug'),
      info: record('info'),
      warn: record('warn'),
      error: record('error'),
    },
    refusal: (reason) => next(({ details }) => details['reason'] === reason),
    line: (text) => next(({ message }) => message === text),
  }
}

/** Registers the start and the stop of a server. Returns gateways in front of it, which are closed after the test file. */
export function usePostgres(roles: readonly string[] = ['admin', 'app']): {
  server: () => PostgresServer
  start: (options?: GatewayOptions) => Promise<Gateway>
} {
  let server: PostgresServer
  const gateways: Gateway[] = []
  beforeAll(async () => {
    server = await launchPostgres({ roles })
  })
  afterAll(async () => {
    await Promise.all(gateways.map((gateway) => gateway.close()))
    await server?.close()
  })
  return {
    server: () => server,
    async start(options = {}) {
      const { socketDirectory, port } = server
      const gateway = await startGateway({
        sql: 'postgres',
        upstream: { host: socketDirectory, port },
        ...options,
      })
      gateways.push(gateway)
      return gateway
    },
  }
}
