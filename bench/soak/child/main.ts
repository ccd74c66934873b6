/** The process of one client: what nothing catches in it would end an application. */
import { once } from 'node:events'
import { inspect } from 'node:util'
import { STOP, type ClientMessage, type ClientOrder } from '../messages.js'
import { startClientRun } from './client-run.js'

const PROGRESS_MS = 1_000

const crashes: string[] = []
process.on('uncaughtException', (error) => crashes.push(inspect(error)))
process.on('unhandledRejection', (error) => crashes.push(inspect(error)))
const warnings: string[] = []
process.on('warning', (warning) => {
  if (warning.name === 'MaxListenersExceededWarning') warnings.push(inspect(warning))
})
// Ctrl-C goes to all processes of the terminal; this one ends when it is told to.
process.on('SIGINT', () => {})
const orphaned = (): never => process.exit(1)
process.once('disconnect', orphaned)

const [order] = (await once(process, 'message')) as [ClientOrder]
const stop = new AbortController()
process.on('message', (message) => {
  if (message === STOP) stop.abort()
})

try {
  const { calls, ended } = await startClientRun(order, stop.signal)
  const tell = (): void => send({ type: 'progress', counts: calls.counts })
  tell()
  const progress = setInterval(tell, PROGRESS_MS)
  const report = await ended
  clearInterval(progress)
  await sent({ type: 'report', report: { ...report, crashes, warnings } })
} catch (error) {
  // Nothing of the above may hold up a process that cannot do what it is for.
  process.stderr.write(`${inspect(error)}\n`, () => process.exit(1))
}
// From here on nothing but what was left behind keeps the process alive.
process.off('disconnect', orphaned)
process.disconnect()

function send(message: ClientMessage): void {
  process.send!(message)
}

function sent(message: ClientMessage): Promise<void> {
  return new Promise((resolve) => {
    process.send!(message, undefined, undefined, () => resolve())
  })
}
