/** `npm run bench:gateway`. */
import type { Benchmark } from '../frame/benchmark.js'
import { tokenChecks } from './checks.js'
import { connectsThroughGateway } from './connects.js'
import { engineStarts } from './engine-starts.js'
import { findPgbench, PGBENCH_MISSING } from './pgbench/find-pgbench.js'
import { makePgbenchTables } from './pgbench/run-pgbench.js'
import { queriesThroughGateway } from './queries.js'
import { startStage } from './stage.js'

export const gateway: Benchmark = {
  name: 'gateway',
  what: 'what the gateway costs: queries of pgbench, connections, token checks, starts',
  missing: async () => ((await findPgbench()) === undefined ? PGBENCH_MISSING : undefined),
  async run(context) {
    const pgbench = await findPgbench()
    if (pgbench === undefined) throw new Error(PGBENCH_MISSING)
    context.uses('pgbench', pgbench.version)
    const stage = await startStage(context)
    try {
      await makePgbenchTables(pgbench, context.isQuick ? 1 : SCALE, stage.localConninfo)
      return [
        ...(await queriesThroughGateway(stage, pgbench, context)),
        ...(await connectsThroughGateway(stage, context)),
        await tokenChecks(stage, context),
        await engineStarts(context),
      ]
    } finally {
      await stage.close()
    }
  },
}

/** As many branches as clients, so that TPC-B is not about waiting for one row. */
const SCALE = 16
