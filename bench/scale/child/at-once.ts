/** A process that asks for many connections at once. */
import { Client } from 'pg'
import { createClient } from '../../../adapters/pg.js'
import { customLogin } from '../../../core/index.js'
import { answerOrder } from '../../common/process/answer-order.js'
import { openResources, settleTo } from '../../soak/open-resources.js'
import type { AtOnceFigures, AtOnceOrder } from '../orders.js'

answerOrder(async (order: AtOnceOrder): Promise<AtOnceFigures[]> => {
  const createOne = clientsOf(order)
  for (let warmUp = 0; warmUp < WARM_UP_TIMES; warmUp++) await openAtOnce(WARM_UP, createOne)
  const figures: AtOnceFigures[] = []
  for (const connections of order.counts) {
    const samples: Sample[] = []
    for (let done = 0; done < order.connections; done += connections)
      samples.push(await openAtOnce(connections, createOne))
    figures.push({
      connections,
      millis: samples.map(({ millis }) => millis / connections),
      cpuMillis: samples.map(({ cpuMillis }) => cpuMillis / connections),
    })
  }
  return figures
})

const WARM_UP = 20
const WARM_UP_TIMES = 20

interface Sample {
  readonly millis: number
  readonly cpuMillis: number
}

/** Not through a pool, whose own lists would be measured. */
async function openAtOnce(connections: number, createOne: () => Client): Promise<Sample> {
  const before = openResources()
  const cpuBefore = process.cpuUsage()
  const startedAt = performance.now()
  const clients = Array.from({ length: connections }, createOne)
  await Promise.all(clients.map((client) => client.connect()))
  const millis = performance.now() - startedAt
  const { user, system } = process.cpuUsage(cpuBefore)
  await Promise.all(clients.map((client) => client.end()))
  await settleTo(before)
  return { millis, cpuMillis: (user + system) / 1_000 }
}

/** All clients are of one login. */
function clientsOf({ login: kind, server }: AtOnceOrder): () => Client {
  if (kind === 'static password') return () => new Client({ ...server, ssl: { ...server.ssl } })
  const { host, port, user, password, database, ssl } = server
  const login = customLogin({
    host: ssl.servername,
    connectTo: { host, port },
    user,
    database,
    tls: { ca: ssl.ca },
    // Those at the end of the queue wait for the processor.
    connectTimeoutMs: 600_000,
    getToken: () => password,
  })
  return () => createClient(login)
}
