import { join } from 'node:path'
import { pgConfig } from '../../adapters/pg.js'
import { type Gateway, startGateway } from '../../gateway/index.js'
import { type ReplayedCase, readRecord, replay } from './replay.js'

/** It updates a row that a case inserts which is not in this part of the record. */
const INCOMPLETE = 'update_row'

describe('the recorded answers of a real Aurora DSQL cluster', () => {
  let gateway: Gateway
  let cases: ReplayedCase[]

  beforeAll(async () => {
    gateway = await startGateway({ engine: 'postgres' })
    const login = gateway.login({ user: 'admin' })
    cases = await replay(readRecord(join(__dirname, 'record')), () => pgConfig(login))
  })
  afterAll(() => gateway?.close())

  it('are those of the gateway, with the same texts of errors', () => {
    const others = cases.filter(
      ({ name, differences, texts }) =>
        name !== INCOMPLETE && (differences.length > 0 || texts.length > 0),
    )
    expect(others).toEqual([])
    expect(cases).toHaveLength(162)
  })
})
