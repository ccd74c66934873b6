/** A Jest worker would go on for ever when its Jest was killed, and the servers that it started with it. */
import { runInThisContext } from 'node:vm'

// The sandbox that Jest runs tests in has a copy of `process`, which no event ever reaches.
const realProcess: NodeJS.Process = runInThisContext('process')
const WATCHED: unique symbol = Symbol.for('pg-iam.test.exit-with-parent') as never
const watched = realProcess as NodeJS.Process & { [WATCHED]?: boolean }

// It runs once for each test file, and a worker has many.
if (realProcess.connected && watched[WATCHED] !== true) {
  watched[WATCHED] = true
  const isFirst = ['message', 'disconnect'].every((event) => realProcess.listenerCount(event) === 0)
  realProcess.once('disconnect', () => realProcess.exit(1))
  // To listen is not to wait: without this a process that has nothing else to do could not end.
  if (isFirst) realProcess.channel?.unref()
}
