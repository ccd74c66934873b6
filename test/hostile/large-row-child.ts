/** The process that reads the large row. */
import { setTimeout as delay } from 'node:timers/promises'
import { loadHostileClient } from './clients/clients.js'
import type { LargeRowOrder, LargeRowReport } from './large-row.js'
import { openClient } from './open-client.js'
import { largeWord } from './server.js'

const MIB = 2 ** 20

process.once('message', (order: LargeRowOrder) => void main(order))
process.once('disconnect', () => process.exit())

async function main({ client: name, bytes, ...order }: LargeRowOrder): Promise<void> {
  const opened = openClient({ client: await loadHostileClient(name), ...order }, false, 30_000)
  for (let left = 20; left > 0; left--) await opened.simple('warm')
  await delay(200)
  globalThis.gc?.()
  const before = use()
  let most = before
  const timer = setInterval(() => (most = more(most, use())), 2)
  const startedAt = performance.now()
  const value = await opened.simple(largeWord(bytes))
  const tookMs = Math.round(performance.now() - startedAt)
  most = more(most, use())
  clearInterval(timer)
  if (typeof value !== 'string' || value.length !== bytes) throw new Error('another row came')
  const report: LargeRowReport = {
    rssMiB: Math.round((most.rss - before.rss) / MIB),
    usedMiB: Math.round((most.used - before.used) / MIB),
    tookMs,
  }
  process.send!(report)
}

interface Use {
  readonly rss: number
  readonly used: number
}

function use(): Use {
  const { rss, heapUsed, external } = process.memoryUsage()
  return { rss, used: heapUsed + external }
}

function more(one: Use, other: Use): Use {
  return { rss: Math.max(one.rss, other.rss), used: Math.max(one.used, other.used) }
}
