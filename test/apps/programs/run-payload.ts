/** Payload creates its tables, and stores and finds a document. */
import { getPayload } from 'payload'
import config from './payload.js'
import { report } from './report.js'

const payload = await getPayload({ config })
await payload.create({ collection: 'notes', data: { body: 'one' } as never })
const { docs } = await payload.find({ collection: 'notes' })
report(docs.map((note) => (note as { body?: unknown }).body))
// Payload never releases its first connection, so its pool cannot end.
process.exit()
