/** Runs the gateway in a process of its own, as users who measure something would. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { GatewayCpu, GatewayOrder, GatewayReady, GatewayRequest } from './messages.js'

export interface GatewayProcess extends GatewayReady {
  /** The processor time that it has used since its start, in microseconds. */
  cpuMicroseconds(): Promise<GatewayCpu>
  close(): Promise<void>
}

/** What the process runs: the gateway, or what only passes bytes on. */
export type GatewayProgram = 'main' | 'relay'

/** Rejects where it does not start. However this process ends, that one ends with it. */
export async function startGatewayProcess(
  order: GatewayOrder,
  program: GatewayProgram = 'main',
): Promise<GatewayProcess> {
  const child = fork(fileURLToPath(new URL(`child/${program}.js`, import.meta.url)))
  const ended = once(child, 'exit')
  const died = ended.then(([code, deadBy]) => {
    throw new Error(`the process of the gateway ended: ${code ?? deadBy}`)
  })
  // Whoever waits for an answer hears of it; nobody else has to.
  died.catch(() => {})
  const ask = async (question: GatewayOrder | GatewayRequest): Promise<unknown> => {
    const answered = once(child, 'message')
    child.send(question)
    const [answer] = (await Promise.race([answered, died])) as [unknown]
    return answer
  }
  const { port, ca } = (await ask(order)) as GatewayReady
  return {
    port,
    ca,
    cpuMicroseconds: async () => (await ask('cpu')) as GatewayCpu,
    async close() {
      if (child.connected) child.send('stop' satisfies GatewayRequest)
      await ended
    },
  }
}
