/** A relay between a gateway and its PostgreSQL server that can cut connections at any byte. */
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PostgresServer } from '../../support/launch-postgres.js'

export interface CuttableUpstream {
  /** The value for the option `upstream`. */
  readonly address: { host: string; port: number }
  /** Cuts all connections now. */
  cut(): void
  /** Cuts each connection instead of forwarding the given bytes of the server. All bytes before them are forwarded. */
  cutAt(bytes: Buffer, keep: number): void
  close(): Promise<void>
}

export async function cuttableUpstream(server: PostgresServer): Promise<CuttableUpstream> {
  const directory = await mkdtemp(join(tmpdir(), 'pg-iam-cut-'))
  const sockets = new Set<Socket>()
  let mark: { bytes: Buffer; keep: number } | undefined
  const listener = createServer((client) => {
    const upstream = connect({ path: `${server.socketDirectory}/.s.PGSQL.${server.port}` })
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => {
        sockets.delete(socket)
        client.destroy()
        upstream.destroy()
      })
    }
    client.pipe(upstream)
    upstream.on('data', (chunk: Buffer) => {
      const at = mark === undefined ? -1 : chunk.indexOf(mark.bytes)
      if (mark === undefined || at === -1) client.write(chunk)
      else client.end(chunk.subarray(0, at + mark.keep))
    })
  })
  listener.listen(join(directory, '.s.PGSQL.5432'))
  await once(listener, 'listening')
  return {
    address: { host: directory, port: 5432 },
    cut: () => {
      for (const socket of sockets) socket.destroy()
    },
    cutAt: (bytes, keep) => {
      mark = { bytes, keep }
    },
    async close() {
      listener.close()
      for (const socket of sockets) socket.destroy()
      await rm(directory, { recursive: true })
    },
  }
}
