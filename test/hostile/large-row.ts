/** The memory of a process during one large row: the driver must buffer it, but no other code should. */
import { once } from 'node:events'
import type { HostileClientName } from './clients/clients.js'
import type { Opener } from './open-client.js'
import { startChild } from './run-hostile.js'
import { startHostileServer } from './server.js'

export interface LargeRowOrder {
  readonly client: HostileClientName
  readonly opener: Opener
  readonly bytes: number
  readonly server: { readonly port: number; readonly ca: string }
}

/** Relative to the memory of the process before the query. */
export interface LargeRowReport {
  readonly rssMiB: number
  readonly usedMiB: number
  readonly tookMs: number
}

/** The server runs in this process, so that its memory does not count. */
export async function measureLargeRow(
  client: HostileClientName,
  opener: Opener,
  mebibytes: number,
): Promise<LargeRowReport> {
  const server = await startHostileServer()
  const child = startChild('large-row-child', ['--expose-gc'])
  child.stderr!.on('data', (text: Buffer) => process.stderr.write(text))
  const order: LargeRowOrder = {
    client,
    opener,
    bytes: mebibytes * 2 ** 20,
    server: { port: server.port, ca: server.ca },
  }
  child.send(order)
  const exited = once(child, 'exit')
  const told = once(child, 'message') as Promise<[LargeRowReport]>
  const [report] = await Promise.race([told, exited.then(() => [])])
  if (report === undefined) throw new Error(`the process for ${client} did not come to its report`)
  child.disconnect()
  await exited
  await server.close()
  return report
}
