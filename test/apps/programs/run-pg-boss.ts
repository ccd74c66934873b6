/** pg-boss creates its schema, sends a job, fetches it and completes it. */
import { boss } from './pg-boss.js'
import { report } from './report.js'

await boss.start()
await boss.createQueue('mail')
const id = await boss.send('mail', { to: 'ada' })
const [job] = await boss.fetch<{ to: string }>('mail')
await boss.complete('mail', job?.id ?? '')
const completed = await boss.getJobById('mail', id ?? '')
await boss.stop({ graceful: false })
report([job?.data, completed?.state])
