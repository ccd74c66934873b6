/** Cancel requests with any key, against a model: they reach the session with exactly this process ID and key, and no other. */
import * as fc from 'fast-check'
import { createLimits } from '../../../gateway/index.js'
import { frontend, int32 } from '../../wire/frontend-messages.js'
import { startup } from '../raw-client.js'
import {
  memoryEngine,
  type MemoryEngine,
  type MemorySession,
  piped,
  type Piped,
} from './memory-engine.js'

interface Opened extends Piped {
  readonly session: MemorySession
  /** BackendKeyData: the process ID and the secret key. */
  readonly key: Buffer
  isOpen: boolean
  /** How many cancel requests should have reached it. */
  expected: number
}

const limits = createLimits()

async function open(engine: MemoryEngine): Promise<Opened> {
  const one = await piped({ engine, limits })
  one.client.send(startup({ user: 'app' }))
  const { body: key } = await one.client.next('K')
  await one.client.next('Z')
  return { ...one, session: engine.sessions.at(-1)!, key, isOpen: true, expected: 0 }
}

async function end(opened: Opened, how: 'Terminate' | 'destroy' | 'engine'): Promise<void> {
  opened.isOpen = false
  if (how === 'Terminate') opened.client.send(frontend('X'))
  if (how === 'destroy') opened.client.socket.destroy()
  if (how === 'engine') opened.session.end()
  await opened.connection.closed
}

/** Sends a cancel request, and returns whether it was delivered. The client gets no answer in either case. */
async function cancel(key: Buffer): Promise<boolean | undefined> {
  let delivered: boolean | undefined
  const onCancelRequest = ({ isDelivered }: { isDelivered: boolean }): void => {
    delivered = isDelivered
  }
  const { client, connection } = await piped({ limits, onCancelRequest })
  client.send(int32(16), int32(80_877_102), key)
  expect(await client.ended()).toEqual([])
  expect(await connection.closed).toBeUndefined()
  return delivered
}

type Step =
  | { readonly open: 'same IDs' | 'other IDs' }
  | { readonly end: number; readonly how: 'Terminate' | 'destroy' | 'engine' }
  /** The process ID of one session and the secret key of another, with bits changed. */
  | {
      readonly processId: number
      readonly secretKey: number
      readonly flip: readonly [number, number]
    }

const anyStep: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ open: fc.constantFrom('same IDs' as const, 'other IDs' as const) }),
  fc.record({
    end: fc.nat(9),
    how: fc.constantFrom('Terminate' as const, 'destroy' as const, 'engine' as const),
  }),
  fc.nat(9).map((one): Step => ({ processId: one, secretKey: one, flip: [0, 0] })),
  fc.record({
    processId: fc.nat(9),
    secretKey: fc.nat(9),
    flip: fc.tuple(
      fc.constantFrom(0, 0, 1, 0x8000_0000 | 0, -1),
      fc.constantFrom(0, 0, 1, 0x8000_0000 | 0, -1),
    ),
  }),
)

it('a cancel request reaches only the session with its process ID and key, while that session is open', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(anyStep, { minLength: 1, maxLength: 30 }), async (steps) => {
      // Two engines, such as two upstream servers, may have backends with the same process ID.
      const engines = { 'same IDs': memoryEngine(() => 7), 'other IDs': memoryEngine() }
      const all = [await open(engines['same IDs']), await open(engines['same IDs'])]
      const at = (index: number): Opened => all[index % all.length]!
      for (const step of steps) {
        if ('open' in step) all.push(await open(engines[step.open]))
        else if ('end' in step) {
          if (at(step.end).isOpen) await end(at(step.end), step.how)
        } else {
          const key = Buffer.concat([
            int32(at(step.processId).key.readInt32BE(0) ^ step.flip[0]),
            int32(at(step.secretKey).key.readInt32BE(4) ^ step.flip[1]),
          ])
          const target = all.find((each) => each.isOpen && each.key.equals(key))
          if (target !== undefined) target.expected++
          expect(await cancel(key)).toBe(target !== undefined)
        }
      }
      expect(all.map(({ session }) => session.cancels)).toEqual(all.map(({ expected }) => expected))
      for (const each of all) {
        if (!each.isOpen) continue
        each.client.send(frontend('S'))
        await each.client.next('Z')
        await end(each, 'Terminate')
        expect(await cancel(each.key)).toBe(false)
      }
    }),
    { numRuns: 200 },
  )
})
