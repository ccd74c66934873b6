/** PGlite over TCP, with a password and TLS: `npm run example gateway/pglite`. */
import { PGlite } from '@electric-sql/pglite'
import { handleConnection, pgliteEngine } from 'pg-iam/gateway'
import { createCertificate } from './certificate.js'
import { type ExampleServer, listen } from './server.js'

/** Serves a PGlite in memory as the user `postgres` with the password `secret`. */
export async function start(): Promise<ExampleServer> {
  const db = await PGlite.create()
  await db.exec("CREATE TABLE greeting (text text); INSERT INTO greeting VALUES ('Hello')")
  const engine = await pgliteEngine(db)
  const { key, cert, ca } = await createCertificate('localhost')
  const server = await listen((socket) => {
    handleConnection(socket, {
      engine,
      auth: 'scram-sha-256',
      password: ({ startup }) => (startup?.user === 'postgres' ? 'secret' : undefined),
      tls: { key, cert },
    })
  })
  return {
    port: server.port,
    ca,
    async close() {
      await server.close()
      await engine.close()
      await db.close()
    },
  }
}
