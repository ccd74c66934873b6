/** Runs one part of a benchmark in a separate process. */
import { fork } from 'node:child_process'
import { once } from 'node:events'

/**
 * Starts a file that calls `answerOrder`. The process ends with this one, even if this one is killed.
 *
 * @param file the file name in this directory, such as `gateway-process.js`
 * @returns the answer, and a function that ends the process at any time
 */
export function startProcess<Answer>(
  file: string,
  order: object,
): { answer: Promise<Answer>; stop(): Promise<void> } {
  const child = fork(new URL(file, import.meta.url), {
    execArgv: ['--enable-source-maps'],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const ended = once(child, 'exit')
  const died = ended.then(([code, signal]) => {
    throw new Error(`the process of ${file} ended (${code ?? signal})`)
  })
  const answer = Promise.race([once(child, 'message'), died]).then(([first]) => first as Answer)
  // After `stop`, the answer is no longer awaited.
  answer.catch(() => {})
  child.send(order)
  return {
    answer,
    async stop() {
      child.kill('SIGKILL')
      await ended
    },
  }
}

/**
 * The counterpart of `startProcess`: answers the order, and then runs until it is stopped or the other process ends. If there is no answer,
 * the error ends this process.
 */
export function answerOrder(answer: (order: never) => Promise<unknown>): void {
  // Ctrl-C signals all processes of the terminal, but this one ends with the benchmark.
  process.on('SIGINT', () => {})
  process.once('disconnect', () => process.exit(1))
  const answered = async (): Promise<void> => {
    const [order] = (await once(process, 'message')) as [never]
    process.send!(await answer(order))
  }
  void answered()
}
