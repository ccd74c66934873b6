/** Sequelize in the demo. */
import { randomUUID } from 'node:crypto'
import { sequelizeOptions, sequelizeTransaction } from 'pg-iam/sequelize'
import { DataTypes, Sequelize } from 'sequelize'
import type { DemoClient, DemoClientSettings } from '../demo-client.js'

export async function openSequelize(settings: DemoClientSettings): Promise<DemoClient> {
  const { login, name, poolSize, from, to } = settings
  const sequelize = new Sequelize(
    sequelizeOptions(login, { logging: false, pool: { max: poolSize } }),
  )
  const id = { type: DataTypes.UUID, primaryKey: true }
  const Note = sequelize.define(
    'Note',
    { id, client: DataTypes.TEXT },
    { tableName: 'demo_note', timestamps: false },
  )
  const Account = sequelize.define(
    'Account',
    { id, balance: DataTypes.INTEGER },
    { tableName: 'demo_account', timestamps: false },
  )
  return {
    countNotes: () => Note.count({ where: { client: name } }),
    async addNote() {
      await Note.create({ id: randomUUID(), client: name })
    },
    async transfer() {
      await sequelizeTransaction(sequelize, async (transaction) => {
        await Account.decrement({ balance: 1 }, { where: { id: from }, transaction })
        await Account.increment({ balance: 1 }, { where: { id: to }, transaction })
      })
    },
    close: () => sequelize.close(),
  }
}
