/** Runs a Worker that queries a gateway over WebSocket, and prints its answer as JSON. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { startGateway } from '../../dist/esm/gateway/index.js'

const HOST = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
const KEYS = { accessKeyId: 'AKIAIOSFODNN7EXAMPLE', secretAccessKey: 'secret-of-the-test' }

const WORKER = `
  import { auroraDsql } from 'pg-iam'
  import { createWebSocketSql } from 'pg-iam/postgres-js-websocket'
  export default {
    async fetch(_request, { HOST: host, PORT: port, KEYS: credentials }) {
      const connectTo = { host: 'localhost', port }
      const login = auroraDsql({ host, user: 'admin', connectTo, signer: 'built-in', credentials })
      const sql = createWebSocketSql(login, { max: 1 })
      const rows = await sql\`SELECT \${'Leo'}::text AS name\`
      await sql.end()
      return Response.json([...rows])
    },
  }`

const gateway = await startGateway({
  clusters: [HOST],
  principals: [{ ...KEYS, roles: ['admin'] }],
  webSocket: true,
})
const folder = mkdtempSync(join(tmpdir(), 'pg-iam-worker-'))
try {
  const ca = join(folder, 'ca.pem')
  writeFileSync(ca, gateway.ca)
  // miniflare (4.2026) reads it when it is loaded.
  process.env.NODE_EXTRA_CA_CERTS = ca
  const { Miniflare } = await import('miniflare')
  const { outputFiles } = await build({
    stdin: { contents: WORKER, resolveDir: process.cwd() },
    bundle: true,
    write: false,
    format: 'esm',
    conditions: ['workerd', 'worker', 'browser'],
  })
  const worker = new Miniflare({
    modules: [{ type: 'ESModule', path: 'main.mjs', contents: outputFiles[0].text }],
    compatibilityDate: '2026-06-01',
    bindings: { HOST, PORT: gateway.port, KEYS },
  })
  const response = await worker.dispatchFetch('http://localhost/')
  process.stdout.write(`${await response.text()}\n`)
  await worker.dispose()
} finally {
  rmSync(folder, { recursive: true })
  await gateway.close()
}
