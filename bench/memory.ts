/**
 * `npm run bench:memory`: the memory growth of a process over 100,000 tokens and over 10,000 connections.
 *
 * Initial growth, such as code compiled by V8, ends in the first half of the work. The figure is the slope of a line through the samples of
 * the second half. `npm run test:hostile -- --large-row 100` measures the memory for one large row.
 */
import { signersOf, type Benchmark } from './benchmark.js'
import type { GrowthEffort, GrowthOrder, MemorySample, Work } from './memory-process.js'
import { startProcess } from './process.js'
import type { Competitor } from './rounds.js'

export const memory: Benchmark = async (context) => {
  const { isQuick, build, measure } = context
  const { tokens, connections, rounds } = isQuick ? QUICK : FULL
  const signers = await signersOf(build)
  const token = (name: string, work: Work): Competitor => grower(name, { work, effort: tokens })
  await measure(
    {
      what: `${amountOf(tokens)} tokens, Aurora DSQL`,
      unit: 'bytes of memory a token',
      compareBy: 'difference',
      baseline: token("AWS's signer", { kind: 'tokens', of: 'AWS signer' }),
      others: signers.map(({ name, options }) =>
        token(name, { kind: 'tokens', of: 'Aurora DSQL', options }),
      ),
    },
    { rounds },
  )
  const postgres = await context.postgres()
  const { passwordLogin: server } = postgres
  for (const client of ['pg', 'postgres-js'] as const) {
    const opener = (login: 'static password' | 'pg-iam'): Competitor =>
      grower(login, {
        work: { kind: 'connections', client, login, server },
        effort: connections,
      })
    await measure(
      {
        what: `${amountOf(connections)} connections, ${client}`,
        unit: 'bytes of memory a connection',
        compareBy: 'difference',
        baseline: opener('static password'),
        others: [opener('pg-iam')],
      },
      { rounds },
    )
  }
}

const FULL = {
  tokens: { warmUp: 20_000, amount: 60_000, samples: 25 },
  connections: { warmUp: 1_000, amount: 4_000, samples: 25 },
  rounds: 3,
}
const QUICK: typeof FULL = {
  tokens: { warmUp: 20, amount: 100, samples: 4 },
  connections: { warmUp: 4, amount: 16, samples: 4 },
  rounds: 1,
}

function amountOf({ amount }: GrowthEffort): string {
  return amount.toLocaleString('en-GB')
}

/** One process for each measurement. The processes of a round run concurrently, because time is not measured. */
function grower(name: string, order: GrowthOrder): Competitor {
  return {
    name,
    open() {
      const started = startProcess<readonly MemorySample[]>('memory-process.js', order, [
        '--expose-gc',
      ])
      return {
        sample: async () =>
          slopeOf((await started.answer).slice(-Math.ceil(order.effort.samples / 2))),
        close: () => started.stop(),
      }
    },
  }
}

/** The method of least squares. */
function slopeOf(samples: readonly MemorySample[]): number {
  const mean = (values: readonly number[]): number =>
    values.reduce((total, value) => total + value, 0) / values.length
  const meanDone = mean(samples.map(({ done }) => done))
  const meanBytes = mean(samples.map(({ bytes }) => bytes))
  const covariance = mean(samples.map((one) => (one.done - meanDone) * (one.bytes - meanBytes)))
  return covariance / mean(samples.map(({ done }) => (done - meanDone) ** 2))
}
