/** Does a part of a benchmark in a process of its own, which starts with nothing of the others in its memory. */
import { fork } from 'node:child_process'
import { once } from 'node:events'

export interface BenchProcess<Answer> {
  /** Rejects where the process ends without one. */
  readonly answer: Promise<Answer>
  /** Ends the process, whatever it is doing, and resolves when it has. */
  stop(): Promise<void>
}

/** Starts the file, which has to call `answerOrder`. The process ends with this one, too. */
export function startProcess<Answer>(
  file: URL,
  order: unknown,
  nodeOptions: readonly string[] = [],
): BenchProcess<Answer> {
  const child = fork(file, {
    execArgv: [...nodeOptions, '--enable-source-maps'],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const ended = once(child, 'exit').catch(() => {})
  const answer = new Promise<Answer>((resolve, reject) => {
    child.once('message', (message) => resolve(message as Answer))
    child.once('error', reject)
    child.once('exit', (code, signal) =>
      reject(new Error(`the process of ${file.pathname} ended (${code ?? signal})`)),
    )
  })
  // Whoever stops it before it has answered does not wait for the answer.
  answer.catch(() => {})
  child.send(order as object)
  return {
    answer,
    async stop() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/** The same for an answer that is all that is wanted. */
export async function askProcess<Answer>(
  file: URL,
  order: unknown,
  nodeOptions: readonly string[] = [],
): Promise<Answer> {
  const { answer, stop } = startProcess<Answer>(file, order, nodeOptions)
  try {
    return await answer
  } finally {
    await stop()
  }
}
