/** The context of each section. */
import type { AuroraDsqlOptions, Login } from '../../core/index.js'
import { type Client, type ClientEntry, type OpenClient, openClient } from '../clients/client.js'
import { startRig, type PostgresPlace, type Rig } from './rig.js'

export interface SectionContext {
  readonly client: Client
  readonly entry: ClientEntry
  /** Available while tests run. */
  rig(): Rig
  /** Opens the client; it is closed at the end of the test. Default pool size 1. */
  open(login: Login, poolSize?: number): OpenClient
  /** A login and a client that uses it. */
  connect(options?: AuroraDsqlOptions, poolSize?: number): { login: Login; client: OpenClient }
}

/** Sets up a context within a `describe`: an empty table before each test, everything closed after it. */
export function createSectionContext(
  client: Client,
  entry: ClientEntry,
  postgres: () => PostgresPlace,
): SectionContext {
  let rig: Rig
  const opened = new Set<OpenClient>()
  beforeAll(async () => {
    rig = await startRig(postgres())
  })
  beforeEach(async () => {
    // Sequelize logs each failed COMMIT and ROLLBACK to the console.
    jest.spyOn(console, 'warn').mockImplementation(() => {})
    await rig.admin('TRUNCATE note')
  })
  afterEach(async () => {
    rig.gateway.faults.clear()
    const clients = [...opened]
    opened.clear()
    await Promise.all(clients.map((one) => one.close()))
  })
  afterAll(() => rig.close())

  const open = (login: Login, poolSize = 1): OpenClient => {
    const one = openClient(entry, login, poolSize)
    opened.add(one)
    return one
  }
  return {
    client,
    entry,
    rig: () => rig,
    open,
    connect: (options, poolSize) => {
      const login = rig.login(options)
      return { login, client: open(login, poolSize) }
    },
  }
}
