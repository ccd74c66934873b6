/** Payload creates its tables, and stores and finds a document. */
import { getPayload } from 'payload'
import config from './payload.js'
import { report } from './report.js'

// Otherwise Payload (3.90) starts a process that generates types, which outlives this one.
const own = await config
const payload = await getPayload({
  config: { ...own, typescript: { ...own.typescript, autoGenerate: false } },
})
await payload.create({ collection: 'notes', data: { body: 'one' } as never })
const { docs } = await payload.find({ collection: 'notes' })
report(docs.map((note) => (note as { body?: unknown }).body))
// Payload never releases its first connection, so its pool cannot end.
process.exit()
