/** How soon a gateway is ready that starts its engine, and how much memory that takes. */
import { readFile, readdir, rm, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startGateway } from 'pg-iam/gateway'
import { createClient } from 'pg-iam/pg'
import type { BenchContext, CountSection } from '../frame/benchmark.js'
import { summarize } from '../frame/statistics.js'

const ROUNDS = 11

/** From the call to a first answer, with an empty cache folder and with one that an earlier start has filled. */
export async function engineStarts({ isQuick, progress }: BenchContext): Promise<CountSection> {
  const rounds = Array.from({ length: isQuick ? 1 : ROUNDS }, (_, index) => index + 1)
  const first: Start[] = []
  const later: Start[] = []
  for (const round of rounds) {
    progress(`engine starts: round ${round} of ${rounds.length}`)
    const cacheDirectory = await mkdtemp(join(tmpdir(), 'pg-iam-bench-cache-'))
    try {
      first.push(await start(cacheDirectory))
      later.push(await start(cacheDirectory))
    } finally {
      await rm(cacheDirectory, { recursive: true })
    }
  }
  return {
    kind: 'counts',
    name: 'engine-starts',
    title: 'A gateway that starts its PostgreSQL, until it is ready',
    notes: [
      'Median of all rounds. The memory is that of the processes of PostgreSQL, each page counted once (PSS); 0 where the system does not say.',
    ],
    rows: [
      { name: 'first start', counts: countsOf(first) },
      { name: 'later starts', counts: countsOf(later) },
    ],
  }
}

interface Start {
  readonly readyMs: number
  readonly memoryMb: number
}

function countsOf(starts: readonly Start[]): CountSection['rows'][number]['counts'] {
  const middle = (samples: number[]): number => Math.round(summarize(samples).median)
  return {
    ms: middle(starts.map(({ readyMs }) => readyMs)),
    'MB of PostgreSQL': middle(starts.map(({ memoryMb }) => memoryMb)),
  }
}

async function start(cacheDirectory: string): Promise<Start> {
  const startedAt = performance.now()
  const gateway = await startGateway({ engine: 'postgres', cacheDirectory })
  const readyMs = performance.now() - startedAt
  try {
    const client = createClient(gateway.login())
    await client.connect()
    const { rows } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid')
    const memoryMb = await memoryOfServer(rows[0]!.pid)
    await client.end()
    return { readyMs, memoryMb }
  } finally {
    await gateway.close()
  }
}

/** Of the parent of a session's process and of all its children. Linux only. */
async function memoryOfServer(session: number): Promise<number> {
  const parentOf = async (pid: string): Promise<string | undefined> => {
    const status = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '')
    return /^PPid:\s+(\d+)/m.exec(status)?.[1]
  }
  const postmaster = await parentOf(String(session))
  if (postmaster === undefined) return 0
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name))
  let kilobytes = 0
  for (const pid of pids) {
    if (pid !== postmaster && (await parentOf(pid)) !== postmaster) continue
    const rollup = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
    kilobytes += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0)
  }
  return kilobytes / 1_024
}
