/** TypeORM in the demo. */
import { randomUUID } from 'node:crypto'
import { typeormOptions, typeormTransaction } from 'pg-iam/typeorm'
import { DataSource, EntitySchema } from 'typeorm'
import type { DemoClient, DemoClientSettings } from '../demo-client.js'

const Note = new EntitySchema<{ id: string; client: string }>({
  name: 'Note',
  tableName: 'demo_note',
  columns: { id: { type: 'uuid', primary: true }, client: { type: 'text' } },
})

const Account = new EntitySchema<{ id: string; balance: number }>({
  name: 'Account',
  tableName: 'demo_account',
  columns: { id: { type: 'uuid', primary: true }, balance: { type: 'integer' } },
})

export async function openTypeorm(settings: DemoClientSettings): Promise<DemoClient> {
  const { login, name, poolSize, from, to } = settings
  const dataSource = new DataSource(
    typeormOptions(login, { entities: [Note, Account], poolSize, logging: false }),
  )
  await dataSource.initialize()
  const noteRepository = dataSource.getRepository(Note)
  return {
    countNotes: () => noteRepository.countBy({ client: name }),
    async addNote() {
      await noteRepository.insert({ id: randomUUID(), client: name })
    },
    async transfer() {
      await typeormTransaction(dataSource, async (manager) => {
        await manager.decrement(Account, { id: from }, 'balance', 1)
        await manager.increment(Account, { id: to }, 'balance', 1)
      })
    },
    close: () => dataSource.destroy(),
  }
}
