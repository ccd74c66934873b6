import { Pool } from 'pg'
import { drawnLifetime } from '../../../adapters/pg/drawn-lifetime.js'
import { pgConfig } from '../../../adapters/pg.js'
import { auroraDsql, customLogin } from '../../../core/index.js'
import { useContractServer } from '../../support/adapter-contract/use-contract-server.js'
import { atOnce } from '../../support/adapter-contract/contract-context.js'

describe('drawnLifetime', () => {
  const server = useContractServer()

  it('is another number each time that it is reckoned with, between four fifths of the lifetime and all of it', () => {
    const host = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
    const login = auroraDsql({ host, user: 'app', maxLifetimeSecs: 100 })
    const lifetime = drawnLifetime(login).maxLifetimeSeconds!
    const draws = Array.from({ length: 50 }, () => lifetime * 1_000)
    expect(new Set(draws).size).toBeGreaterThan(30)
    expect(Math.min(...draws)).toBeGreaterThanOrEqual(80_000)
    expect(Math.max(...draws)).toBeLessThanOrEqual(100_000)
  })

  it('is one of some hundreds of numbers, for each of which Node keeps a list of timers', () => {
    const host = 'abcdefghijklmnopqrstuvwxyz.dsql.us-east-1.on.aws'
    const lifetime = drawnLifetime(auroraDsql({ host, user: 'app' })).maxLifetimeSeconds!
    const draws = Array.from({ length: 20_000 }, () => lifetime * 1_000)
    const count = new Set(draws).size
    expect(count).toBeGreaterThan(450)
    expect(count).toBeLessThanOrEqual(501)
  })

  it('is left out where a login names no age, as pg-pool has none by itself', () => {
    const getToken = (): Promise<string> => Promise.resolve('token')
    const login = customLogin({ host: 'db.example.com', user: 'app', getToken })
    expect(drawnLifetime(login)).toEqual({})
    expect(pgConfig(login)).not.toHaveProperty('maxLifetimeSeconds')
    expect(pgConfig(login, { maxLifetimeSeconds: 60 })).toMatchObject({ maxLifetimeSeconds: 60 })
  })

  it('is asked by pg-pool for each connection that it makes', async () => {
    let asked = 0
    const counting = {
      valueOf: () => {
        asked++
        return 1_000
      },
    } as unknown as number
    const config = pgConfig(server().login(), { max: 3, maxLifetimeSeconds: counting })
    const pool = new Pool(config)
    asked = 0
    await atOnce(9, () => pool.query('SELECT 1'))
    const { totalCount } = pool
    await pool.end()
    expect(totalCount).toBe(3)
    expect(asked).toBeGreaterThanOrEqual(totalCount)
  })
})
