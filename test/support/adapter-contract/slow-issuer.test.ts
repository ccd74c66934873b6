import { useContractProcess } from './contract-process.js'
import { startStand, redshiftContract } from './providers/redshift.js'
import { useContractServer } from './use-contract-server.js'

describe('promise 4 of the contract', () => {
  const server = useContractServer('PostgreSQL', {
    ...redshiftContract,
    start: () => startStand(100),
  })

  const contractProcess = useContractProcess('postgres-js', 'createSql', server)

  it('holds for a slow issuer: the time limit for a token that never comes differs from that for a late one', () => {
    const { end, report } = contractProcess().result
    expect(end).toBe(0)
    expect(report?.failures['never answers']).toMatchObject({
      failed: 40,
      withCode: 40,
      recovered: 40,
    })
  })
})
