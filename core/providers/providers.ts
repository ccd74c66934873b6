/** The providers that are recognised by their host names. */
import { createAuroraDsql } from './aurora-dsql/aurora-dsql.js'
import { dsqlRegion } from './aurora-dsql/host.js'
import type { Provider } from './provider.js'

export const PROVIDERS: readonly Provider[] = [
  {
    isHost: (host) => dsqlRegion(host) !== undefined,
    hostForm: 'Aurora DSQL: CLUSTER.dsql.REGION.on.aws',
    create: createAuroraDsql,
  },
]
