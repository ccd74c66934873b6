import { Sequelize, type Transaction } from 'sequelize'
import { sequelizeOptions, sequelizeTransaction } from '../../adapters/sequelize.js'
import { isPgIamError } from '../../core/index.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'
import { launchPostgres, type PostgresServer } from '../support/launch-postgres.js'
import { client } from '../clients/sequelize.js'
import { describeResilience } from './describe-resilience.js'
import { type Rig, startRig } from './rig.js'

describeResilience(client)

describe('sequelizeTransaction', () => {
  let postgres: PostgresServer
  let rig: Rig
  let sequelize: Sequelize
  const calls: (Transaction | string)[] = []

  beforeAll(async () => {
    postgres = await launchPostgres({ roles: ['admin', 'app'] })
    rig = await startRig(postgres)
  })
  beforeEach(() => {
    // Sequelize logs each failed COMMIT to the console.
    jest.spyOn(console, 'warn').mockImplementation(() => {})
    calls.length = 0
    sequelize = new Sequelize(sequelizeOptions(rig.login(), { logging: false }))
  })
  afterEach(async () => {
    rig.gateway.faults.clear()
    await sequelize.close()
  })
  afterAll(async () => {
    await rig.close()
    await postgres.close()
  })

  const run = (work: (transaction: Transaction) => Promise<string>): Promise<string> =>
    sequelizeTransaction(sequelize, work, { baseDelayMs: 0, maxAttempts: 3 })

  it('runs the hooks of the successful commit once, in order, with the transaction', async () => {
    rig.gateway.faults.raiseConflicts({ times: 2 })
    const transactions: Transaction[] = []
    const result = await run(async (transaction) => {
      transactions.push(transaction)
      transaction.afterCommit((committed) => void calls.push(committed))
      transaction.afterCommit(async () => {
        await sequelize.query('SELECT 1')
        calls.push('second')
      })
      transaction.afterCommit(() => void calls.push('third'))
      await sequelize.query('SELECT 1', { transaction })
      return 'done'
    })
    expect(result).toBe('done')
    expect(transactions).toHaveLength(3)
    expect(calls).toEqual([transactions[2], 'second', 'third'])
  })

  it('runs no hook of a transaction that was rolled back, or whose outcome is unknown', async () => {
    const work = async (transaction: Transaction): Promise<string> => {
      transaction.afterCommit(() => void calls.push('called'))
      await sequelize.query('SELECT 1', { transaction })
      return 'done'
    }
    rig.gateway.faults.raiseConflicts({ times: 3 })
    expect(isPgIamError(await rejectionOf(run(work)), 'ERR_OCC_EXHAUSTED')).toBe(true)
    rig.gateway.faults.cut({ at: 'after-commit' })
    expect(isPgIamError(await rejectionOf(run(work)), 'ERR_OUTCOME_UNKNOWN')).toBe(true)
    await rejectionOf(
      run((transaction) => work(transaction).then(() => Promise.reject(new Error('no')))),
    )
    expect(calls).toEqual([])
  })

  it('does not retry the transaction when a hook fails', async () => {
    const failure = Object.assign(new Error('the mail server is down'), { code: '40001' })
    let runs = 0
    const error = await rejectionOf(
      run(async (transaction) => {
        runs++
        transaction.afterCommit(() => {
          throw failure
        })
        await sequelize.query('SELECT 1', { transaction })
        return 'done'
      }),
    )
    expect(error).toBe(failure)
    expect(runs).toBe(1)
  })
})
