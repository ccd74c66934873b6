/** The demo: all clients that work through a gateway that verifies every token, and three tokens that it refuses. */
import { startGateway } from 'pg-iam/gateway'
import type { DemoOptions } from './demo-options.js'
import { createGatewayLog } from './gateway-log.js'
import { createLedger, type Ledger } from './ledger.js'
import { createParticipants, type Participant } from './participants.js'
import { OTHER_ROLE, attempt, createBadLogins, type Refusal } from './refusals.js'
import { closingText, engineLine, liveText, statusLine, titleLine } from './report.js'
import type { Screen } from './screen.js'
import { problemsOf, type ClientSummary } from './summary.js'
import { clientTable, refusalTable } from './tables.js'
import { waitUntilClosed } from './wait-until-closed.js'
import { runWorkload } from './workload.js'

const REPAINT_MS = 200
const STATUS_LINE_MS = 5_000

/**
 * Runs and shows the demo. Resolves with whether it succeeded. `signal` ends it early, with a clean shutdown.
 */
export async function runDemo(
  { seconds }: DemoOptions,
  screen: Screen,
  signal: AbortSignal,
): Promise<boolean> {
  const { paint } = screen
  screen.print(titleLine(paint))
  const log = createGatewayLog()
  const gateway = await startGateway({ roles: ['app', OTHER_ROLE], logger: log.logger })
  screen.print(engineLine(gateway.engine, log.engineVersion()))
  try {
    const participants = await createParticipants(gateway)
    const badLogins = await createBadLogins(gateway)
    const names = participants.map(({ client }) => client.name)
    const ledger = await createLedger(gateway.login(), names)

    const before = gateway.stats()
    await showWork(participants, ledger, seconds, screen, signal)
    await waitUntilClosed(participants)
    const after = gateway.stats()

    const refusals: Refusal[] = []
    if (!signal.aborted) {
      for (const badLogin of badLogins) refusals.push(await attempt(badLogin, log))
      screen.print(refusalTable(refusals, paint))
    }
    const clients = participants.map(summarize)
    const problems = problemsOf({
      clients,
      ledger: await ledger.read(),
      refusals,
      isInterrupted: signal.aborted,
    })
    screen.print(clientTable(clients, paint))
    screen.print(closingText({ clients, problems, before, after }, paint))
    return problems.length === 0
  } finally {
    await gateway.close()
  }
}

/** Runs all clients concurrently, and shows their counters meanwhile. */
async function showWork(
  participants: readonly Participant[],
  ledger: Ledger,
  seconds: number,
  screen: Screen,
  signal: AbortSignal,
): Promise<void> {
  const startedAt = Date.now()
  const secondsPassed = (): number => Math.min(seconds, (Date.now() - startedAt) / 1_000)
  const show = (): void => {
    const clients = participants.map(summarize)
    if (screen.isLive) screen.repaint(liveText(clients, secondsPassed(), seconds, screen.paint))
    else screen.print(statusLine(clients, secondsPassed()))
  }
  const ticks = setInterval(show, screen.isLive ? REPAINT_MS : STATUS_LINE_MS)
  const end = new AbortController()
  // Not AbortSignal.any(): Node 20 may collect its signal of AbortSignal.timeout() as garbage before that aborts.
  const stop = (): void => end.abort()
  const timer = setTimeout(stop, seconds * 1_000)
  signal.addEventListener('abort', stop)
  // Ctrl-C during the start.
  if (signal.aborted) stop()
  try {
    const work = participants.map((participant) =>
      runWorkload(participant, ledger.accountsOf(participant.client.name), end.signal),
    )
    await Promise.all(work)
  } finally {
    clearInterval(ticks)
    clearTimeout(timer)
    signal.removeEventListener('abort', stop)
  }
}

function summarize({ client, login, counts }: Participant): ClientSummary {
  const { connectionsOpened, connectionsOpen, tokensMade, credentialCalls, conflictsRetried } =
    login.stats()
  return {
    ...counts,
    name: client.name,
    connections: connectionsOpened,
    open: connectionsOpen,
    tokens: tokensMade,
    credentials: credentialCalls,
    conflicts: conflictsRetried,
  }
}
