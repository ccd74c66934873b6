/**
 * `npm run bench:memory`: what a process grows by over 100,000 tokens and over 10,000 connections.
 *
 * What grows at first and then stops, such as what V8 compiles, is over in the second half of the work: the figure is the slope of a
 * line through the samples of that half. `npm run test:hostile -- --large-row 100` measures the memory while one large row passes.
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
  tokens: { warmUp: 20_000, amount: 100_000, samples: 25 },
  connections: { warmUp: 1_000, amount: 10_000, samples: 25 },
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

/** One process for each measurement. Time is not measured, so the processes of a round run at the same time. */
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

/** By least squares. */
function slopeOf(samples: readonly MemorySample[]): number {
  const mean = (values: readonly number[]): number =>
    values.reduce((total, value) => total + value, 0) / values.length
  const meanDone = mean(samples.map(({ done }) => done))
  const meanBytes = mean(samples.map(({ bytes }) => bytes))
  const covariance = mean(samples.map((one) => (one.done - meanDone) * (one.bytes - meanBytes)))
  return covariance / mean(samples.map(({ done }) => (done - meanDone) ** 2))
}
