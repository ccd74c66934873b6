/** Ends a Jest worker, and the servers that it started, if its Jest process was killed. */
import { runInThisContext } from 'node:vm'

// Jest's sandbox has a copy of `process`, which gets no events.
const realProcess: NodeJS.Process = runInThisContext('process')
const WATCHED: unique symbol = Symbol.for('pg-iam.test.exit-with-parent') as never
const watched = realProcess as NodeJS.Process & { [WATCHED]?: boolean }

// This runs for each test file, and a worker runs many.
if (realProcess.connected && watched[WATCHED] !== true) {
  watched[WATCHED] = true
  const exit = (): never => realProcess.exit(1)
  const isListening = (): boolean => realProcess.listenerCount('message') > 0
  const isWorker = isListening()
  realProcess.on('disconnect', exit)
  // A listener keeps the process alive, and Jest's worker (30) removes its own listener to exit.
  if (isWorker)
    realProcess.on('removeListener', (event) => {
      if (event === 'message' && !isListening()) realProcess.off('disconnect', exit)
    })
  else realProcess.channel?.unref()
}
