/** Hooks that count and log the statements of all clients: `npm run example gateway/hooks`. */
import { handleConnection, postgresEngine, readFrontendMessage } from 'pg-iam/gateway'
import { type ExampleServer, listen } from './server.js'

export interface Statement {
  readonly user: string
  readonly sql: string
}

/** Statements are counted by user, and `DROP` is refused. */
export async function start(
  log: (statement: Statement) => void = () => {},
): Promise<ExampleServer & { readonly counts: ReadonlyMap<string, number> }> {
  const engine = await postgresEngine({ roles: ['app'] })
  const counts = new Map<string, number>()
  const server = await listen((socket) => {
    handleConnection(socket, {
      engine,
      onMessage(bytes, { phase, startup }) {
        if (phase !== 'session') return undefined
        const message = readFrontendMessage(bytes)
        if (message.type !== 'query' && message.type !== 'parse') return undefined
        const user = startup?.user ?? ''
        counts.set(user, (counts.get(user) ?? 0) + 1)
        log({ user, sql: message.sql })
        if (/^\s*drop\b/i.test(message.sql))
          throw Object.assign(new Error('DROP is not allowed here'), {
            code: '42501',
            hint: 'Ask your administrator.',
          })
        return undefined
      },
    })
  })
  return {
    port: server.port,
    counts,
    async close() {
      await server.close()
      await engine.close()
    },
  }
}
