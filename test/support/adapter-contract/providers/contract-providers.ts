/** The providers that the contract runs for. */
import type { ContractProvider } from '../contract-provider.js'
import { auroraDsqlContract } from './aurora-dsql.js'
import { cloudSqlContract } from './cloud-sql.js'
import { entraContract } from './entra.js'
import { rdsContract } from './rds.js'
import { redshiftContract } from './redshift.js'

export const CONTRACT_PROVIDERS: readonly ContractProvider[] = [
  auroraDsqlContract,
  rdsContract,
  redshiftContract,
  entraContract,
  cloudSqlContract,
]

export function contractProvider(name: string): ContractProvider {
  const found = CONTRACT_PROVIDERS.find((provider) => provider.name === name)
  if (found === undefined) throw new Error(`no contract for ${name}`)
  return found
}
