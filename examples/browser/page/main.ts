/** A page that queries Aurora DSQL itself. Its server only signs users in, and hands out their short-lived credentials. */
import { auroraDsql, type AwsCredentials, type Login } from 'pg-iam'
import { createWebSocketSql } from 'pg-iam/postgres-js-websocket'

interface Session {
  readonly user: string
  readonly host: string
  readonly connectTo?: { readonly host: string; readonly port: number }
}

const element = (id: string): HTMLElement => document.getElementById(id)!

async function post<T>(path: string, body: object = {}): Promise<T> {
  const headers = { 'content-type': 'application/json' }
  const response = await fetch(path, { method: 'POST', headers, body: JSON.stringify(body) })
  if (!response.ok) throw new Error(`the server answered ${response.status}`)
  return (await response.json()) as T
}

/** What the page has while a user is signed in. */
function openClinic({ user, host, connectTo }: Session) {
  let tokenUntil: Date | undefined
  const login: Login = auroraDsql({
    host,
    user,
    ...(connectTo && { connectTo }),
    signer: 'built-in',
    // Called again before the credentials end.
    credentials: async () => {
      const { expiration, ...keys } = await post<AwsCredentials & { expiration: string }>(
        '/credentials',
      )
      return { ...keys, expiration: new Date(expiration) }
    },
    logger: {
      debug: (_message, { expiresAt }: { expiresAt?: Date } = {}) => {
        tokenUntil = expiresAt ?? tokenUntil
        showStatus()
      },
      info() {},
      // Queries reject with the errors, too.
      warn() {},
      error() {},
    },
  })
  let retries = 0
  const sql = createWebSocketSql(login, {
    max: 2,
    connectionCheck: true,
    retryBegin: {
      onRetry() {
        retries++
        showStatus()
      },
    },
  })

  const showStatus = (): void => {
    const { connectionsOpen, connectionsOpened, tokensMade } = login.stats()
    const values = {
      'Signed in as': user,
      'Open connections': connectionsOpen,
      'Connections so far': connectionsOpened,
      'Tokens made': tokensMade,
      'Last token until': tokenUntil?.toLocaleTimeString() ?? 'none',
      'Transactions retried': retries,
    }
    element('status').replaceChildren(
      ...Object.entries(values).map(([name, value]) => {
        const entry = document.createElement('div')
        const [term, shown] = [document.createElement('dt'), document.createElement('dd')]
        term.textContent = name
        shown.textContent = String(value)
        entry.append(term, shown)
        return entry
      }),
    )
  }

  const list = async (): Promise<void> => {
    const visits = await sql<{ pet: string; reason: string; added_by: string; fee: number }[]>`
      SELECT pet, reason, added_by, fee FROM visit ORDER BY added_at, pet`
    element('visits').replaceChildren(
      ...visits.map((visit) => {
        const row = document.createElement('tr')
        for (const [name, value] of Object.entries(visit)) {
          const cell = row.insertCell()
          cell.textContent = String(value)
          if (name === 'fee') cell.className = 'number'
        }
        return row
      }),
    )
    showStatus()
  }
  const add = (visit: Record<string, unknown>) => sql`INSERT INTO visit ${sql(visit)}`
  /** Two transactions that conflict: each waits until the other has its snapshot, too. */
  const raiseTwice = async (): Promise<void> => {
    let begun = 0
    let bothHaveBegun = (): void => {}
    const together = new Promise<void>((resolve) => (bothHaveBegun = resolve))
    const raise = () =>
      sql.begin(async (transaction) => {
        await transaction`SELECT count(*) FROM visit`
        if (++begun === 2) bothHaveBegun()
        await together
        await transaction`UPDATE visit SET fee = fee + 1`
      })
    await Promise.all([raise().finally(bothHaveBegun), raise().finally(bothHaveBegun)])
  }
  return { list, add, raiseTwice, close: () => sql.end({ timeout: 1 }) }
}

let clinic: ReturnType<typeof openClinic> | undefined

function say(text: string, isFailure = false): void {
  const message = element('message')
  message.textContent = text
  message.classList.toggle('failed', isFailure)
}

/** Runs what a button does at each click, and says what came of it. */
function onClick(id: string, work: () => Promise<string>): void {
  const button = element(id) as HTMLButtonElement
  button.addEventListener('click', () => void act(button, work))
}

async function act(button: HTMLButtonElement, work: () => Promise<string>): Promise<void> {
  button.disabled = true
  say('')
  try {
    say(await work())
  } catch (error) {
    say((error as Error).message, true)
  } finally {
    button.disabled = false
  }
}

async function show(session: Session | undefined): Promise<void> {
  element('sign-in').hidden = session !== undefined
  element('clinic').hidden = session === undefined
  if (session === undefined) return
  clinic = openClinic(session)
  await clinic.list()
}

for (const user of ['alice', 'bob'])
  onClick(user, async () => {
    await show(await post<Session>('/sign-in', { user }))
    return ''
  })

const form = element('add') as HTMLFormElement
form.addEventListener('submit', (event) => {
  event.preventDefault()
  void act(form.querySelector('button')!, async () => {
    const { pet, reason, fee } = Object.fromEntries(new FormData(form))
    await clinic!.add({ pet, reason, fee: Number(fee) })
    form.reset()
    await clinic!.list()
    return `Added a visit of ${pet as string}.`
  })
})

onClick('raise', async () => {
  await clinic!.raiseTwice()
  await clinic!.list()
  return 'Both transactions are done: all fees are 2 higher.'
})

onClick('refresh', async () => {
  await clinic!.list()
  return 'The list is up to date.'
})

onClick('sign-out', async () => {
  await post('/sign-out')
  await clinic?.close()
  clinic = undefined
  await show(undefined)
  return 'Signed out.'
})

const response = await fetch('/session')
await show(response.ok ? ((await response.json()) as Session) : undefined).catch((error: unknown) =>
  say((error as Error).message, true),
)
