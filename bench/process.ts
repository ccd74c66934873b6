/** Runs one part of a benchmark in a separate process, whose memory holds nothing of the other parts. */
import { fork } from 'node:child_process'
import { once } from 'node:events'

/**
 * Starts a file that calls `answerOrder`. However this process ends, that one ends with it.
 *
 * @param file its name in this folder, such as `memory-process.js`
 * @returns the answer, and how to end the process, whatever it is doing
 */
export function startProcess<Answer>(
  file: string,
  order: object,
  nodeOptions: readonly string[] = [],
): { answer: Promise<Answer>; stop(): Promise<void> } {
  const child = fork(new URL(file, import.meta.url), {
    execArgv: [...nodeOptions, '--enable-source-maps'],
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  })
  const ended = once(child, 'exit')
  const died = ended.then(([code, signal]) => {
    throw new Error(`the process of ${file} ended (${code ?? signal})`)
  })
  const answer = Promise.race([once(child, 'message'), died]).then(([first]) => first as Answer)
  // Who stops it before it has answered does not wait for the answer.
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
 * The other side of `startProcess`: answers its order, and then lives on until it is stopped or the other process is gone. Where there
 * is no answer this process ends of the error.
 */
export function answerOrder(answer: (order: never) => Promise<unknown>): void {
  // Ctrl-C goes to all processes of the terminal; this one ends with the benchmark.
  process.on('SIGINT', () => {})
  process.once('disconnect', () => process.exit(1))
  const answered = async (): Promise<void> => {
    const [order] = (await once(process, 'message')) as [never]
    process.send!(await answer(order))
  }
  void answered()
}
