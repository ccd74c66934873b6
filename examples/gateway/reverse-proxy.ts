/** A reverse proxy that selects a PostgreSQL server by the server name (SNI): `npm run example gateway/reverse-proxy`. */
import { connect } from 'node:net'
import { handleConnection, postgresEngine, startGateway } from 'pg-iam/gateway'
import { createCertificate } from './certificate.js'
import { type ExampleServer, listen } from './server.js'

/**
 * Two servers: `orders.example.com` and `people.example.com`. The proxy ends TLS, and passes all else through to the gateway of the server,
 * which verifies the password `secret` of the user `app`.
 */
export async function start(): Promise<ExampleServer> {
  const names = ['orders', 'people'] as const
  const certificate = await createCertificate('orders.example.com', 'people.example.com')
  const servers = await Promise.all(
    names.map(async (name) => {
      const engine = await postgresEngine({ roles: ['app'], database: name })
      const server = await listen((socket) => {
        handleConnection(socket, {
          engine,
          auth: 'scram-sha-256',
          password: ({ startup }) => (startup?.user === 'app' ? 'secret' : undefined),
        })
      })
      return { host: `${name}.example.com`, engine, server }
    }),
  )
  const proxy = await listen((socket) => {
    const connection = handleConnection(socket, {
      tls: certificate,
      async onTlsUpgrade({ tls }) {
        const server = servers.find(({ host }) => host === tls?.serverName)?.server
        if (server === undefined)
          throw Object.assign(new Error('no server has this name'), { code: '08004' })
        const client = await connection.detach()
        const upstream = connect(server.port, '127.0.0.1')
        client.on('error', () => upstream.destroy()).on('close', () => upstream.destroy())
        upstream.on('error', () => client.destroy()).on('close', () => client.destroy())
        client.pipe(upstream).pipe(client)
      },
    })
  })
  return {
    port: proxy.port,
    ca: certificate.ca,
    async close() {
      await proxy.close()
      for (const { engine, server } of servers) {
        await server.close()
        await engine.close()
      }
    },
  }
}

/** The same with the gateway, which also verifies the clients, relays cancel requests and limits connections. */
export async function startWithGateway(
  upstreams: Readonly<Record<string, string>>,
): Promise<ExampleServer> {
  const gateway = await startGateway({
    endpoints: [
      {
        provider: 'password',
        hosts: ['*.example.com'],
        users: { app: 'secret' },
        upstream: ({ serverName = '' }) => upstreams[serverName] ?? unknownServer(serverName),
      },
    ],
  })
  return { port: gateway.port, ca: gateway.ca, close: () => gateway.close() }
}

function unknownServer(name: string): never {
  throw Object.assign(new Error(`no server has the name ${name}`), { code: '08004' })
}
