/** The providers that are recognised by their host names. */
import { createAuroraDsql } from './aurora-dsql/aurora-dsql.js'
import { dsqlRegion } from './aurora-dsql/host.js'
import { createCloudSql } from './cloud-sql/cloud-sql.js'
import { isCloudSqlHost } from './cloud-sql/host.js'
import { azureCloudOf } from './entra/cloud.js'
import { createEntra } from './entra/entra.js'
import type { Provider } from './provider.js'
import { isGlobalWriter, rdsEndpoint } from './rds/endpoint.js'
import { createRds } from './rds/rds.js'
import { redshiftEndpoint } from './redshift/host.js'
import { createRedshift } from './redshift/redshift.js'

export const PROVIDERS: readonly Provider[] = [
  {
    isHost: (host) => dsqlRegion(host) !== undefined,
    hostForm: 'Aurora DSQL: CLUSTER.dsql.REGION.on.aws',
    create: createAuroraDsql,
  },
  {
    isHost: (host) => rdsEndpoint(host) !== undefined || isGlobalWriter(host),
    hostForm: 'RDS and Aurora: NAME.HASH.REGION.rds.amazonaws.com',
    create: createRds,
  },
  {
    isHost: (host) => azureCloudOf(host) !== undefined,
    hostForm: 'Azure: NAME.postgres.database.azure.com',
    create: createEntra,
  },
  {
    isHost: isCloudSqlHost,
    hostForm: 'Cloud SQL: ID.LABEL.REGION.sql.goog',
    create: createCloudSql,
  },
  {
    isHost: (host) => redshiftEndpoint(host) !== undefined,
    hostForm:
      'Redshift: CLUSTER.ID.REGION.redshift.amazonaws.com, WORKGROUP.ACCOUNT.REGION.redshift-serverless.amazonaws.com',
    create: createRedshift,
  },
]
