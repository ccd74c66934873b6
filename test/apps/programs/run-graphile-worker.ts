/** Graphile Worker runs a job that is added while it listens. */
import { once } from 'node:events'
import { pool, runner } from './graphile-worker.js'
import { report } from './report.js'

const succeeded = once(runner.events, 'job:success')
await runner.addJob('greet', { name: 'ada' })
const [{ job }] = (await succeeded) as [{ job: { task_identifier: string; attempts: number } }]
await runner.stop()
await pool.end()
report([job.task_identifier, job.attempts])
