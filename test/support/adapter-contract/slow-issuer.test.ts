import { childLogin, runChild } from './child-run.js'
import type { FailingProviderReport } from './child/failing-provider.js'
import { startStand, redshiftContract } from './providers/redshift.js'
import { useContractServer } from './use-contract-server.js'

describe('promise 4 of the contract', () => {
  const server = useContractServer('PGlite', {
    ...redshiftContract,
    start: () => startStand(100),
  })

  it('holds for a slow issuer: the time limit for a token that never comes differs from that for a late one', async () => {
    const { end, report } = await runChild<FailingProviderReport>({
      task: 'failing-provider',
      client: 'postgres-js',
      entry: 'createSql',
      login: await childLogin(server()),
    })
    expect(end).toBe(0)
    expect(report?.['never answers']).toMatchObject({ failed: 40, withCode: 40, recovered: 40 })
  })
})
