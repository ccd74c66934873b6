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
  const isListening = (): boolean => realProcess.listenerCount('message') > 0
  const isWorker = isListening()
  realProcess.on('disconnect', exit)
  // A listener keeps the process alive, of which Jest's worker (30) takes its own away to end.
  if (isWorker)
    realProcess.on('removeListener', (event) => {
      if (event === 'message' && !isListening()) realProcess.off('disconnect', exit)
    })
  else realProcess.channel?.unref()
}
