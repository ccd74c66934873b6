/** A process that does one kind of work again and again, and looks at its memory meanwhile; it runs with `--expose-gc`. */
import { answerOrder } from '../../common/process/answer-order.js'
import { memoryUse } from '../../common/process/memory-use.js'
import type { GrowthOrder, MemorySample, WorkOrder } from '../growth.js'
import { connectionWork } from './connection-work.js'
import { tokenWork } from './token-work.js'
import type { Work } from './work.js'

answerOrder(async ({ work: order, effort }: GrowthOrder): Promise<MemorySample[]> => {
  const work = workFor(order)
  await work(effort.warmUp)
  const samples = [{ done: 0, ...(await memoryUse()) }]
  const between = effort.amount / effort.samples
  for (let sample = 1; sample <= effort.samples; sample++) {
    await work(between)
    samples.push({ done: sample * between, ...(await memoryUse()) })
  }
  return samples
})

function workFor(order: WorkOrder): Work {
  return order.kind === 'tokens' ? tokenWork(order.tokens) : connectionWork(order)
}
