import { Sequelize, type Transaction, TransactionNestMode } from '@sequelize/core'
import { PostgresDialect } from '@sequelize/postgres'
import {
  sequelizeHook,
  sequelizeOptions,
  sequelizeTransaction,
} from '../../adapters/sequelize-7.js'
import { isPgIamError } from '../../core/index.js'
import { client } from '../clients/sequelize-7.js'
import { rejectionOf } from '../support/adapter-contract/error-chain.js'
import { launchPostgres, type PostgresServer } from '../support/launch-postgres.js'
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
    // Sequelize logs each failed COMMIT on a lost connection to the console.
    jest.spyOn(console, 'warn').mockImplementation(() => {})
    calls.length = 0
    sequelize = new Sequelize(sequelizeOptions(rig.login()))
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

  const txid = async (on: Transaction | null | undefined): Promise<unknown> => {
    const options = on === undefined ? {} : { transaction: on }
    const [[row]] = await sequelize.query('SELECT txid_current()::text AS id', options)
    return (row as { id: string }).id
  }

  it('runs the hooks of the successful commit once, in order, with the transaction', async () => {
    rig.gateway.faults.raiseConflicts({ times: 2 })
    const transactions: Transaction[] = []
    const result = await run(async (transaction) => {
      transactions.push(transaction)
      transaction.afterTransaction((ended) => void calls.push(ended))
      transaction.afterCommit((committed) => void calls.push(committed))
      transaction.afterCommit(async () => {
        await sequelize.query('SELECT 1')
        calls.push('second')
      })
      await sequelize.query('SELECT 1')
      return 'done'
    })
    expect(result).toBe('done')
    expect(transactions).toHaveLength(3)
    expect(calls).toEqual([transactions[2], 'second', transactions[2]])
  })

  it('runs the hooks of a rollback once, and none of a commit', async () => {
    const failure = new Error('no')
    const error = await rejectionOf(
      run(async (transaction) => {
        transaction.afterCommit(() => void calls.push('commit'))
        transaction.afterRollback(() => void calls.push('rollback'))
        transaction.afterTransaction(() => void calls.push('end'))
        throw failure
      }),
    )
    expect(error).toBe(failure)
    expect(calls).toEqual(['rollback', 'end'])
  })

  it('runs no hook of a transaction whose commit failed, or whose outcome is unknown', async () => {
    const work = async (transaction: Transaction): Promise<string> => {
      transaction.afterCommit(() => void calls.push('called'))
      await sequelize.query('SELECT 1')
      return 'done'
    }
    rig.gateway.faults.raiseConflicts({ times: 3 })
    expect(isPgIamError(await rejectionOf(run(work)), 'ERR_OCC_EXHAUSTED')).toBe(true)
    rig.gateway.faults.cut({ at: 'after-commit' })
    expect(isPgIamError(await rejectionOf(run(work)), 'ERR_OUTCOME_UNKNOWN')).toBe(true)
    expect(calls).toEqual([])
  })

  it.each(['afterCommit', 'afterTransaction'] as const)(
    'does not retry the transaction when a hook of %s fails',
    async (name) => {
      const failure = Object.assign(new Error('the mail server is down'), { code: '40001' })
      let runs = 0
      const error = await rejectionOf(
        run(async (transaction) => {
          runs++
          transaction[name](() => {
            throw failure
          })
          await sequelize.query('SELECT 1')
          return 'done'
        }),
      )
      expect(error).toBe(failure)
      expect(runs).toBe(1)
    },
  )

  it('rejects a hook that is not a function', async () => {
    const error = await rejectionOf(
      run(async (transaction) => {
        transaction.afterCommit('mail' as never)
        return 'done'
      }),
    )
    expect(isPgIamError(error, 'ERR_OPTION_INVALID')).toBe(true)
  })

  it('logs nothing for a conflict, and Sequelize has its own instance in the transaction after it', async () => {
    rig.gateway.faults.raiseConflicts()
    const warn = jest.spyOn(console, 'warn').mockImplementation(() => {})
    const transactions: Transaction[] = []
    await run(async (transaction) => {
      transactions.push(transaction)
      await sequelize.query('SELECT 1')
      return 'done'
    })
    expect(warn).not.toHaveBeenCalled()
    expect(transactions.map(({ sequelize: own }) => own === sequelize)).toEqual([true, true])
  })

  it("is joined by queries and by Sequelize's own transactions inside it", async () => {
    await run(async (transaction) => {
      const id = await txid(transaction)
      expect(await txid(undefined)).toBe(id)
      expect(await sequelize.transaction(() => txid(undefined))).toBe(id)
      expect(await txid(null)).not.toBe(id)
      return 'done'
    })
  })

  it("is rejected inside Sequelize's own transaction, which it would join, unless it is separate", async () => {
    await sequelize.transaction(async (outer) => {
      const inner = await rejectionOf(run(async () => 'done'))
      expect(isPgIamError(inner, 'ERR_TRANSACTION_NESTED')).toBe(true)
      const id = await sequelizeTransaction(sequelize, (own) => txid(own), {
        nestMode: TransactionNestMode.separate,
      })
      expect(id).not.toBe(await txid(outer))
    })
  })

  it("begins a transaction in code that Sequelize's own transaction started and that outlived it", async () => {
    let begin = (): void => {}
    let outlived: Promise<string> = Promise.resolve('')
    await sequelize.transaction(async () => {
      const started = new Promise<void>((resolve) => (begin = resolve))
      outlived = started.then(() => run(async (transaction) => String(await txid(transaction))))
    })
    begin()
    expect(await outlived).toMatch(/^\d+$/)
  })

  it('works without the transactions of the context', async () => {
    const own = new Sequelize(sequelizeOptions(rig.login(), { disableClsTransactions: true }))
    await sequelizeTransaction(own, async (transaction) => {
      await own.query('INSERT INTO note (id) VALUES (9)', { transaction })
    })
    expect(await rig.notes()).toEqual([9])
    await rig.admin('TRUNCATE note')
    await own.close()
  })

  it('uses the retry options of the login of a hook', async () => {
    const login = rig.login({ retry: { maxAttempts: 2, baseDelayMs: 0 } })
    for (const hook of [sequelizeHook(login), { name: 'login', callback: sequelizeHook(login) }]) {
      const hooks = { beforeConnect: hook } as { beforeConnect: ReturnType<typeof sequelizeHook> }
      const own = new Sequelize({ dialect: PostgresDialect, hooks })
      await own.query('SELECT 1')
      rig.gateway.faults.raiseConflicts({ probability: 1 })
      let runs = 0
      const error = await rejectionOf(
        sequelizeTransaction(own, async () => {
          runs++
          await own.query('SELECT 1')
        }),
      )
      rig.gateway.faults.clear()
      expect(isPgIamError(error, 'ERR_OCC_EXHAUSTED')).toBe(true)
      expect(runs).toBe(2)
      await own.close()
    }
  })
})
