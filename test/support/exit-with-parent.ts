/** A Jest worker would go on for ever when its Jest was killed, and the servers that it started with it. */
import { runInThisContext } from 'node:vm'

// The sandbox that Jest runs tests in has a copy of `process`, which no event ever reaches.
const realProcess: NodeJS.Process = runInThisContext('process')
const WATCHED: unique symbol = Symbol.for('pg-iam.test.exit-with-parent') as never
const watched = realProcess as NodeJS.Process & { [WATCHED]?: boolean }

// It runs once for each test file, and a worker has many.
if (realProcess.connected && watched[WATCHED] !== true) {
  watched[WATCHED] = true
  const exit = (): never => realProcess.exit(1)
  // A listener for either event keeps the process alive. Jest's worker (30) ends by taking its own away.
  const leave = (): void => {
    if (realProcess.listenerCount('message') === 0) realProcess.off('disconnect', exit)
  }
  realProcess.on('disconnect', exit)
  realProcess.on('removeListener', (event) => {
    if (event === 'message') leave()
  })
  leave()
}
