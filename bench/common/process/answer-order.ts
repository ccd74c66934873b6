/** The other side of `startProcess`. */
import { once } from 'node:events'

/**
 * Answers the order of the process that started this one, which then lives on until that stops it, or is gone. Where there is no
 * answer this process ends of the error.
 */
export function answerOrder(answer: (order: never) => Promise<unknown>): void {
  process.once('disconnect', () => process.exit(1))
  const answered = async (): Promise<void> => {
    const [order] = (await once(process, 'message')) as [never]
    process.send!(await answer(order))
  }
  // What it rejects with is nobody's but Node's, who writes it down.
  void answered()
}
